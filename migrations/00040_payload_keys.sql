-- +goose Up

-- Payload and metadata, sealed with the key of the tenant's own (models/payload.go): then data is empty and metadata null. Null
-- without PAYLOAD_ENCRYPTION. The keys themselves are not among these tables; see models/payload_keys.go.
alter table events add column sealed bytea;

-- What is kept of request and answer, of an attempt whose event is sealed. Then the columns that hold it otherwise are empty.
alter table attempts add column sealed bytea;

-- The id of the key in force; null until an event is sealed, and from an erasure of all that the tenant has on.
alter table tenants add column payload_key bigint;

-- The id of the key that is deleted when the erasure is finished; null for none.
alter table erasures add column payload_key bigint;

-- +goose Down
alter table erasures drop column payload_key;
alter table tenants drop column payload_key;
alter table attempts drop column sealed;
alter table events drop column sealed;
