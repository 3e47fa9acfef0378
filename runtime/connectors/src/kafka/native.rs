//! Calls of librdkafka that take or return many messages at once. The safe crate only has calls for one message, which read at a third of
//! the rate. All unsafe code of the connector is here.

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::{CStr, CString, c_char};
use std::ptr::null_mut;
use std::time::Duration;

/// The partition number that lets the partitioner choose.
const UNASSIGNED: i32 = -1;

fn code(err: sys::rd_kafka_resp_err_t) -> Option<RDKafkaErrorCode> {
    (err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| err.into())
}

/// The queue through which a consumer receives its messages. It must be dropped before its consumer.
pub(super) struct Queue {
    queue: *mut sys::rd_kafka_queue_t,
    space: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: librdkafka's queues may be used from any thread, and this one has one owner.
unsafe impl Send for Queue {}

impl Queue {
    pub fn of<C: ClientContext>(client: &Client<C>) -> Self {
        // SAFETY: the client is alive; the call gives a reference of our own, which drop gives back.
        Queue { queue: unsafe { sys::rd_kafka_queue_get_consumer(client.native_ptr()) }, space: vec![] }
    }

    /// Takes up to `most` messages, and waits for them up to `time`.
    pub fn take(&mut self, most: usize, wait: Duration) -> Vec<Message> {
        self.space.resize(most, null_mut());
        let wait = wait.as_millis().min(10_000) as i32;
        // SAFETY: there is room for `most` pointers; those that are set are ours from here on.
        let n = unsafe { sys::rd_kafka_consume_batch_queue(self.queue, wait, self.space.as_mut_ptr(), most) };
        self.space[..n.max(0) as usize].iter().map(|m| Message(*m)).collect()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference was taken in `of`.
        unsafe { sys::rd_kafka_queue_destroy(self.queue) };
    }
}

/// A message, or an event in its place. It must be dropped before its consumer.
pub(super) struct Message(*mut sys::rd_kafka_message_t);

/// The kind of a message's timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimestampType {
    None,
    CreateTime,
    LogAppendTime,
}

impl Message {
    fn get(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: the pointer came from librdkafka and is valid until drop.
        unsafe { &*self.0 }
    }
    pub fn error(&self) -> Option<RDKafkaErrorCode> {
        code(self.get().err)
    }
    /// librdkafka's text about the error.
    pub fn error_text(&self) -> String {
        // SAFETY: the text lives as long as the message.
        let text = unsafe { sys::rd_kafka_message_errstr(self.0) };
        if text.is_null() {
            return String::new();
        }
        // SAFETY: it ends with a zero.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
    /// A number that identifies the topic as long as the consumer lives.
    pub fn topic_number(&self) -> usize {
        self.get().rkt as usize
    }
    pub fn topic(&self) -> String {
        let topic = self.get().rkt;
        if topic.is_null() {
            return String::new();
        }
        // SAFETY: the topic lives as long as a message of it, and its name ends with a zero.
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(topic)) }.to_string_lossy().into_owned()
    }
    pub fn partition(&self) -> i32 {
        self.get().partition
    }
    pub fn offset(&self) -> i64 {
        self.get().offset
    }
    pub fn value(&self) -> Option<&[u8]> {
        let m = self.get();
        // SAFETY: the message has as many bytes as librdkafka says, as long as it lives.
        (!m.payload.is_null()).then(|| unsafe { std::slice::from_raw_parts(m.payload.cast(), m.len) })
    }
    pub fn key(&self) -> Option<&[u8]> {
        let m = self.get();
        // SAFETY: as above.
        (!m.key.is_null()).then(|| unsafe { std::slice::from_raw_parts(m.key.cast(), m.key_len) })
    }
    /// The timestamp in milliseconds since 1970, and its kind.
    pub fn timestamp(&self) -> (i64, TimestampType) {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: both pointers are valid.
        let at = unsafe { sys::rd_kafka_message_timestamp(self.0, &raw mut kind) };
        let kind = match kind {
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => TimestampType::CreateTime,
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => TimestampType::LogAppendTime,
            _ => TimestampType::None,
        };
        (at, kind)
    }
    pub fn leader_epoch(&self) -> Option<i32> {
        // SAFETY: the message is alive.
        let epoch = unsafe { sys::rd_kafka_message_leader_epoch(self.0) };
        (epoch >= 0).then_some(epoch)
    }
    /// The headers, in their order.
    pub fn headers(&self) -> Vec<(String, Option<Vec<u8>>)> {
        let mut headers = null_mut();
        // SAFETY: both pointers are valid.
        if code(unsafe { sys::rd_kafka_message_headers(self.0, &raw mut headers) }).is_some() {
            return vec![];
        }
        let mut all = vec![];
        loop {
            let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
            // SAFETY: the headers live as long as the message, and all pointers are valid.
            let found = unsafe {
                sys::rd_kafka_header_get_all(headers, all.len(), &raw mut name, &raw mut value, &raw mut size)
            };
            if code(found).is_some() {
                return all;
            }
            // SAFETY: the name ends with a zero; the value has as many bytes as librdkafka says.
            let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
            // SAFETY: as above.
            let value = (!value.is_null()).then(|| unsafe { std::slice::from_raw_parts(value.cast(), size) }.to_vec());
            all.push((name, value));
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nothing borrows from it any more.
        unsafe { sys::rd_kafka_message_destroy(self.0) };
    }
}

/// A topic that a producer writes to. It must be dropped before its producer.
pub(super) struct Topic {
    topic: *mut sys::rd_kafka_topic_t,
    batch: Vec<sys::rd_kafka_message_t>,
}

// SAFETY: librdkafka's topics may be used from any thread, and this one has one owner.
unsafe impl Send for Topic {}

/// A message without headers and timestamp.
pub(super) struct Plain<'a> {
    /// -1: the partitioner chooses.
    pub partition: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

impl Topic {
    /// A topic by its name; none if the name is invalid.
    pub fn of<C: ClientContext>(client: &Client<C>, name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        // SAFETY: the client is alive, the name ends with a zero; without a configuration the client's counts.
        let topic = unsafe { sys::rd_kafka_topic_new(client.native_ptr(), name.as_ptr(), null_mut()) };
        (!topic.is_null()).then(|| Topic { topic, batch: vec![] })
    }

    /// Hands messages to the producer, which copies them. Returns the indexes of those that were rejected, with the reason.
    pub fn produce(&mut self, messages: &[Plain<'_>]) -> Vec<(usize, RDKafkaErrorCode)> {
        self.batch.clear();
        self.batch.extend(messages.iter().map(|m| {
            // An empty value is not NULL, so it needs an address.
            let (value, len) = m.value.map_or((std::ptr::null(), 0), |v| (v.as_ptr(), v.len()));
            let (key, key_len) = m.key.map_or((std::ptr::null(), 0), |k| (k.as_ptr(), k.len()));
            sys::rd_kafka_message_t {
                err: sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
                rkt: null_mut(),
                partition: m.partition,
                payload: value.cast_mut().cast(),
                len,
                key: key.cast_mut().cast(),
                key_len,
                offset: 0,
                _private: null_mut(),
            }
        }));
        let flags = sys::RD_KAFKA_MSG_F_COPY | sys::RD_KAFKA_MSG_F_PARTITION;
        // SAFETY: the topic is alive; the messages are valid during the call, which copies what they point to.
        unsafe {
            sys::rd_kafka_produce_batch(self.topic, UNASSIGNED, flags, self.batch.as_mut_ptr(), self.batch.len() as i32)
        };
        self.batch.iter().enumerate().filter_map(|(i, m)| code(m.err).map(|c| (i, c))).collect()
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: the reference was taken in `of`.
        unsafe { sys::rd_kafka_topic_destroy(self.topic) };
    }
}

/// The ids of topics by their names, as far as the cluster returns them. A topic that is deleted and created again has another id.
pub(super) fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    names: &[String],
    wait: Duration,
) -> Vec<(String, String)> {
    let names: Vec<CString> = names.iter().filter_map(|n| CString::new(n.as_str()).ok()).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|n| n.as_ptr()).collect();
    let mut ids = vec![];
    // SAFETY: the client is alive; what is made here is destroyed here, after its last use; texts are read while the event
    // that they belong to is alive.
    unsafe {
        let client = client.native_ptr();
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let queue = sys::rd_kafka_queue_new(client);
        sys::rd_kafka_DescribeTopics(client, topics, std::ptr::null(), queue);
        let event = sys::rd_kafka_queue_poll(queue, wait.as_millis().min(60_000) as i32);
        if !event.is_null() {
            let result = sys::rd_kafka_event_DescribeTopics_result(event);
            let mut count = 0;
            if code(sys::rd_kafka_event_error(event)).is_none() && !result.is_null() {
                let all = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
                for topic in (0..count).map(|i| *all.add(i)) {
                    let text = |t: *const c_char| CStr::from_ptr(t).to_string_lossy().into_owned();
                    let error = sys::rd_kafka_TopicDescription_error(topic);
                    if error.is_null() || code(sys::rd_kafka_error_code(error)).is_none() {
                        let id = sys::rd_kafka_Uuid_base64str(sys::rd_kafka_TopicDescription_topic_id(topic));
                        ids.push((text(sys::rd_kafka_TopicDescription_name(topic)), text(id)));
                    }
                }
            }
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_queue_destroy(queue);
        sys::rd_kafka_TopicCollection_destroy(topics);
    }
    ids
}

/// The end offset of a partition, as in the cluster's last response; it sends no request.
pub(super) fn cached_end<C: ClientContext>(client: &Client<C>, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive, the name ends with a zero, both pointers are valid.
    let found = unsafe {
        sys::rd_kafka_get_watermark_offsets(client.native_ptr(), topic.as_ptr(), partition, &raw mut low, &raw mut high)
    };
    (code(found).is_none() && high >= 0).then_some(high)
}
