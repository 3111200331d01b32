-- +goose Up
-- What tracing systems add to the trace context (W3C Trace Context, section 3.3), as the publisher sent it; null for none.
alter table events add column tracestate text;

-- +goose Down
alter table events drop column tracestate;
