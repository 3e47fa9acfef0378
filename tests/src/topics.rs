//! Records sent to topics, and read of them, without a process for each.

use crate::servers::Kafka;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// Sends lines of key, tab, value; the value `NULL` stands for none. A key's records go to one partition, in order. Gives their number.
pub fn send(kafka: &Kafka, topic: &str, lines: &str) -> usize {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.servers()).set("linger.ms", "5");
    let producer: BaseProducer = config.create().expect("a producer");
    for line in lines.lines() {
        let (key, value) = line.split_once('\t').expect("a key and a value");
        let record = BaseRecord::to(topic).key(key);
        let mut record = if value == "NULL" { record } else { record.payload(value) };
        while let Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = back;
        }
    }
    producer.flush(Duration::from_secs(60)).expect("everything is there");
    lines.lines().count()
}

/// The keys and values of a topic so far, of transactions that are complete, partition by partition.
pub fn committed(kafka: &Kafka, topic: &str) -> Vec<(String, Option<String>)> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.servers()).set("group.id", "tests").set("enable.partition.eof", "true");
    config.set("isolation.level", "read_committed").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(30)).expect("the topic");
    let partitions: Vec<i32> = metadata.topics()[0].partitions().iter().map(|p| p.id()).collect();
    let (since, mut all) = (Instant::now(), vec![]);
    for partition in partitions {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
        consumer.assign(&list).expect("assigned");
        loop {
            assert!(since.elapsed() < Duration::from_secs(60), "{topic}: {} records so far", all.len());
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            match consumer.poll(Duration::from_millis(200)) {
                None => {}
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(e)) => panic!("{topic}: {e}"),
                Some(Ok(m)) => all.push((m.key().map(text).unwrap_or_default(), m.payload().map(text))),
            }
        }
    }
    all
}
