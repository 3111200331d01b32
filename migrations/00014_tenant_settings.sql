-- +goose Up
-- What holds for the tenant's destinations instead of the server's defaults; see models.TenantSettings.
alter table tenants add column if not exists settings jsonb not null default '{}';

-- +goose Down
alter table tenants drop column if exists settings;
