"""Why an event cannot be used; the dead letter keeps this reason with the event's original bytes."""

from enum import StrEnum


class DeadLetterReason(StrEnum):
    """Why an event cannot be used. Values are stored and shown; they do not change."""

    NOT_DECODABLE = "not_decodable"  # the value does not match the topic's format
    INVALID_FIELD = "invalid_field"  # a field is missing or has a wrong type or value
    INVALID_ID = "invalid_id"  # no usable document id
    # The version would be the record's time or offset, and that is no version: a time in the future, or an offset of
    # an earlier log of the topic.
    NO_VERSION = "no_version"
    VERSION_BEYOND_SCALE = (
        "version_beyond_scale"  # far beyond, or far below, the others of its source
    )
    TWO_SCALES = "two_scales"  # a version of an event meets one made of a record
    # Larger than `max_document_bytes`; or larger than a record that is kept, then without its bytes.
    TOO_LARGE = "too_large"
    NOT_READ = "not_read"  # passed by an operator, without its bytes; see `freshet source skip`
    TOO_MANY_CHUNKS = "too_many_chunks"  # more than `max_chunks`
    UNSUPPORTED_CONTENT = "unsupported_content"  # no text: unknown media type, binary
    CLEANING_FAILED = "cleaning_failed"  # the cleaner failed
    NO_TEXT_LEFT = "no_text_left"  # cleaning dropped all of its readable text
    CLEANING_TIMEOUT = (
        "cleaning_timeout"  # the cleaner took longer than `clean_timeout`
    )
    NOT_EMBEDDABLE = (
        "not_embeddable"  # the model makes no usable vector of a text of it
    )
    NOT_STORABLE = "not_storable"  # PostgreSQL refuses a value of it, or its size
