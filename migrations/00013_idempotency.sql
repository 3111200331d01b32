-- +goose Up

-- Requests that carry an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), for as long as their answers are given
-- again. A request claims its row first; the transaction that does what it asks for writes effect_at, and only while the row
-- still has the request's token. So a row tells after a crash whether anything was done.
create table idempotency_keys (
  caller      bytea not null,                      -- hash of who called: an API key, or a tenant's tokens
  key         text not null,
  fingerprint bytea not null,                      -- hash of the request's method, address and body
  token       uuid not null,                       -- of the request that has the row
  claimed_at  timestamptz not null default now(),
  effect_at   timestamptz,                         -- when something was committed on behalf of the request
  answer      bytea,                               -- sealed: status, headers and body; null until it is known
  expires_at  timestamptz not null,
  primary key (caller, key)
) with (fillfactor = 70);
create index idempotency_keys_expires on idempotency_keys (expires_at);

-- +goose Down
drop table idempotency_keys;
