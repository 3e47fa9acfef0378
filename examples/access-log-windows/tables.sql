CREATE TABLE requests_by_minute (
  minute TIMESTAMP(3), status INT, requests BIGINT, bytes_sent BIGINT, PRIMARY KEY (minute, status)
);
CREATE TABLE busiest_addresses (
  minute TIMESTAMP(3), place BIGINT, address TEXT, requests BIGINT, PRIMARY KEY (minute, place)
);
CREATE TABLE sessions (
  address TEXT, first_request TIMESTAMP(3), last_request TIMESTAMP(3), requests BIGINT, bytes_sent BIGINT,
  PRIMARY KEY (address, first_request)
);
CREATE TABLE late_lines (line TEXT, requested TIMESTAMP(3), late_operator TEXT, late_reason TEXT);
