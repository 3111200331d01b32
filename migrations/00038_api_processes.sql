-- +goose Up
-- The processes that answer the API. Each takes its share of what a key or tenant may send, and proves every two seconds that it
-- is there. (processes has those that deliver, and is about their jobs.)
create table api_processes (
  id      uuid primary key,
  seen_at timestamptz not null default now()
);

-- +goose Down
drop table api_processes;
