package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// parseBenchDestination reads NAME=JSON.
func parseBenchDestination(text string) (name, body string, err error) {
	name, body, ok := strings.Cut(text, "=")
	var destination map[string]any
	switch {
	case !ok || name == "":
		return "", "", errors.New("must be a name, = and a destination in JSON")
	case json.Unmarshal([]byte(body), &destination) != nil || destination["type"] == nil:
		return "", "", fmt.Errorf("%s must be followed by a JSON object with a type, config and credentials", name)
	}
	if destination["topics"] == nil {
		destination["topics"] = "*"
	}
	b, err := json.Marshal(destination)
	return name, string(b), err
}

// measureBroker publishes a case's events to a new tenant with the destination that the case describes, and waits until
// all of them are recorded as delivered. The broker tells nothing of when they arrived, so the end of an event is when the
// worker had the broker's confirmation.
func measureBroker(ctx context.Context, b *bencher, c benchCase) (r benchResult, err error) {
	tenant, err := b.tenant()
	if err != nil {
		return r, err
	}
	if _, err := b.must(201, "POST", "/tenants/"+tenant+"/destinations", json.RawMessage(c.to)); err != nil {
		return r, err
	}
	conn, err := pgx.Connect(ctx, b.pg.URL)
	if err != nil {
		return r, err
	}
	defer conn.Close(ctx)
	before, start := b.cpu(), time.Now()
	took, err := b.publish(ctx, c, func(int64) string { return tenant })
	if err != nil {
		return r, err
	}
	accepted := time.Since(start)
	if err := recorded(ctx, conn, tenant, c.events); err != nil {
		return r, err
	}
	delivered := time.Since(start)
	r.cpu = float64((b.cpu() - before).Microseconds()) / 1000 / float64(c.events)
	r.memory = float64(b.memory() >> 20)
	r.accepted = float64(c.events) / accepted.Seconds()
	r.delivered = float64(c.events) / delivered.Seconds()
	r.publish = [2]float64{percentile(took, .5), percentile(took, .99)}
	rows, err := conn.Query(ctx,
		`select extract(epoch from a.started_at) * 1e3 + a.duration_us / 1e3 - (e.data::json ->> 'sent_at_ns')::numeric / 1e6
		from attempts a join events e on e.id = a.event_id join tenants t on t.key = a.tenant_key where t.id = $1 and a.ok`, tenant)
	if err != nil {
		return r, err
	}
	latency, err := pgx.CollectRows(rows, pgx.RowTo[float64])
	r.e2e = percentiles(latency)
	return r, err
}

// recorded waits until so many deliveries of the tenant are recorded as delivered. It fails when attempts do, for then it
// is not the throughput that is measured.
func recorded(ctx context.Context, conn *pgx.Conn, tenant string, want int) error {
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		var n int
		var failure *string
		err := conn.QueryRow(ctx, `select count(*) filter (where d.status = 'delivered'), min(d.error)
			from deliveries d join tenants t on t.key = d.tenant_key where t.id = $1`, tenant).Scan(&n, &failure)
		switch {
		case err != nil:
			return err
		case failure != nil:
			return fmt.Errorf("an attempt failed: %s", *failure)
		case n == want:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%d of %d deliveries are recorded", n, want)
		}
	}
}
