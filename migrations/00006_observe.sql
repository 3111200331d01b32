-- +goose Up
-- The W3C trace context that the publisher sent along, or the one of the publish in this server; null for none. A column
-- without a default changes the catalogue only.
alter table events add column traceparent text;

-- +goose Down
alter table events drop column traceparent;
