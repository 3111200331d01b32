-- +goose Up

-- The last position in the feed here when the tenant came from another cell; null for others. Changes up to it that are the tenant's were
-- told and published where it comes from. It brought its own copy of the changes of topics, and those of everybody begin after this.
alter table tenants add column feed_since bigint;

-- In a cell, changes of topics are copies (tenant_key is null); of these, changes.was is the position in the feed of home.

-- +goose Down
alter table tenants drop column feed_since;
