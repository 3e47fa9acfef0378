#!/bin/sh
exec java -Xmx100m -cp '/opt/kafka/libs/*' org.apache.kafka.tools.TopicCommand "$@"
