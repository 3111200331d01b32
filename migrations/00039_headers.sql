-- +goose Up

-- The headers of request and answer, packed (models/attempt_headers.go). Attempts of before have them in request_header and
-- response_header, which are empty in those that have this.
alter table attempts add column headers bytea;

-- +goose Down
alter table attempts drop column headers;
