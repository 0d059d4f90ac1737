"""Which errors of librdkafka are of the records, and not of the cluster."""

from confluent_kafka import KafkaError

# Errors of one record batch that librdkafka cannot read, at the offset where it is: inflated it is larger than
# `receive.message.max.bytes`, it is damaged, or its codec is not known.
UNREADABLE = frozenset(
    {
        KafkaError._BAD_COMPRESSION,
        KafkaError._BAD_MSG,
        KafkaError._NOT_IMPLEMENTED,
        KafkaError.INVALID_MSG,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
    }
)
