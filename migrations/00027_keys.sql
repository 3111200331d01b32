-- +goose Up
-- From where an API key may be used, and how much it may send.
alter table api_keys
  add column addresses cidr[] not null default '{}',   -- empty for anywhere
  add column limits    jsonb not null default '{}';    -- models.IntakeLimits

-- +goose Down
alter table api_keys drop column addresses, drop column limits;
