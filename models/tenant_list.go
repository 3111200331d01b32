package models

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// What tenants can be sorted by, besides SortCreated.
const (
	SortTrouble   = "trouble"       // destinations that fail, then disabled ones, then deliveries that wait, then events of 24 hours
	SortName      = "name"          // what people see of the tenant, without regard to case
	SortVolume    = "received"      // events of the last 24 hours
	SortLastEvent = "last_event_at" // when the last event was received; without one, as before all others
)

// TenantSorts lists what tenants can be sorted by.
var TenantSorts = []string{SortCreated, SortTrouble, SortName, SortVolume, SortLastEvent}

// TenantQuery selects tenants.
type TenantQuery struct {
	IDs  []string `query:"id" label:"Tenant" doc:"Only these tenants."`
	Text string   `query:"q" label:"Search" doc:"Part of the id."` // or of the name
	Sort string   `query:"order_by" api:"enum=created_at|trouble|name|received|last_event_at,default=created_at" doc:"'trouble': destinations that fail, then disabled ones, then deliveries that wait, then events of the last 24 hours. 'received': events of the last 24 hours. 'dir' is 'desc' when missing: the most first."`
	Page PageQuery
}

// TenantSummary is a tenant with what lists show of it.
type TenantSummary struct {
	Tenant
	Destinations int            // how many it has
	Topics       []string       // that some destination of it subscribes to; ["*"] when one takes all
	Numbers      *TenantNumbers // where they were asked for; nil otherwise
}

// tenantOrder is an order of tenants t that their key does not give.
type tenantOrder struct {
	values []string // in SQL, each with its type; the first decides
	types  []string
	from   string // joins that the values need
}

// tenantPlace is a place in a list of tenants. Values are those of the order, as text.
type tenantPlace struct {
	Values []string
	Key    int64

	numbers bool // Values are numbers
}

const (
	// tenantFailing and tenantDisabled count destinations by tenant, by the small indexes of both.
	tenantFailing = " left join (select d.tenant_key, count(*) n from destination_health h join destinations d on d.key = h.destination_key" +
		" where d.deleted_at is null and d.disabled_at is null and " + failingHealth + " group by 1) failing on failing.tenant_key = t.key"
	tenantDisabled = " left join (select d.tenant_key, count(*) n from destinations d where d.deleted_at is null and d.disabled_at is not null" +
		" group by 1) disabled on disabled.tenant_key = t.key"
	// tenantLast is the newest event of each tenant. It is found from the newest day on.
	tenantLast = " left join lateral (select e.id from events e where e.tenant_key = t.key order by e.id desc limit 1) last on true"
)

// tenantVolumes are how many events each tenant received in the last 24 hours, with what is not folded into traffic yet. As with
// waiting, the figures are those of a moment ago where there are many tenants.
func (s *Store) tenantVolumes(ctx context.Context, scope Scope, now time.Time) (map[int64]int64, error) {
	read := func(ctx context.Context) (map[int64]int64, error) {
		since := overviewRanges["24h"].span(now)
		out := map[int64]int64{}
		err := s.within(ctx, measureTimeout, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `select key, sum(n)::bigint from (
				select t.key, x.n from tenants t, lateral (select coalesce(sum(received), 0) n from traffic
					where tenant_key = t.key and grain = $1 and start >= $2) x where $3 or t.key = any($4)
				union all select tenant_key, received from traffic_deltas where minute >= $2 and ($3 or tenant_key = any($4))) x group by 1`,
				int32(grainHalfHour/time.Second), since, scope.all, scope.keys())
			if err != nil {
				return err
			}
			var key, n int64
			_, err = pgx.ForEachRow(rows, []any{&key, &n}, func() error {
				out[key] = n
				return nil
			})
			return err
		})
		return out, err
	}
	if !scope.all {
		return read(ctx)
	}
	by, _, err := s.tenantVolume.get(ctx, read)
	return by, err
}

// joinFigures joins a number of each tenant to tenants t, as name.n.
func joinFigures(q *query, name string, figures map[int64]int64) string {
	var keys, n []int64
	for key, x := range figures {
		keys, n = append(keys, key), append(n, x)
	}
	return q.bind(" left join unnest(?::bigint[], ?::bigint[]) "+name+" (tenant_key, n) on "+name+".tenant_key = t.key", keys, n)
}

// tenantOrder writes the values of an order, and what they are made of; without any for the order of creation.
func (s *Store) tenantOrder(ctx context.Context, q *query, scope Scope, by string, now time.Time) (*tenantOrder, error) {
	switch by {
	case SortName:
		return &tenantOrder{values: []string{`lower(coalesce(nullif(t.settings->>'name', ''), t.id)) collate "C"`}, types: []string{"text"}}, nil
	case SortLastEvent:
		return &tenantOrder{values: []string{`coalesce(last.id::text, '') collate "C"`}, types: []string{"text"}, from: tenantLast}, nil
	case SortVolume, SortTrouble:
		volume, err := s.tenantVolumes(ctx, scope, now)
		if err != nil {
			return nil, err
		}
		o := &tenantOrder{values: []string{"coalesce(volume.n, 0)"}, types: []string{"bigint"}, from: joinFigures(q, "volume", volume)}
		if by == SortVolume {
			return o, nil
		}
		waiting, _, err := s.waitingByTenant(ctx, scope)
		if err != nil {
			return nil, err
		}
		waits := map[int64]int64{}
		for key, w := range waiting {
			waits[key] = int64(w.Held + w.Retrying)
		}
		o.values = append([]string{"coalesce(failing.n, 0)", "coalesce(disabled.n, 0)", "coalesce(waits.n, 0)"}, o.values...)
		o.types = []string{"bigint", "bigint", "bigint", "bigint"}
		o.from += tenantFailing + tenantDisabled + joinFigures(q, "waits", waits)
		return o, nil
	}
	return &tenantOrder{}, nil
}

// Tenants lists tenants, and counts all that match.
func (s *Store) Tenants(ctx context.Context, scope Scope, tq TenantQuery) (*Page[TenantSummary], int, error) {
	if tq.Sort != "" {
		if err := oneOf("order_by", []string{tq.Sort}, TenantSorts); err != nil {
			return nil, 0, err
		}
	}
	pg, err := tq.Page.keyset(scope.keys(), tq)
	if err != nil {
		return nil, 0, err
	}
	q := newQuery()
	q.and("t.deleted_at is null")
	// Those in other cells are in the lists of these, and those that are on their way are where they come from.
	q.and("t.cell is null and t.held_until is distinct from 'infinity'")
	if !slices.Contains(tq.IDs, OperatorTenant) {
		q.and("t.id <> ?", OperatorTenant)
	}
	scope.where(q, "t.key")
	if len(tq.IDs) > 0 {
		q.and("t.id = any(?)", tq.IDs)
	}
	if tq.Text != "" {
		q.and("position(lower(?) in lower(concat_ws(' ', t.id, t.settings->>'name'))) > 0", tq.Text)
	}
	var count int
	if err := s.pool.QueryRow(ctx, "select count(*) from tenants t"+q.sql(), q.args...).Scan(&count); err != nil {
		return nil, 0, err
	}
	order, err := s.tenantOrder(ctx, q, scope, tq.Sort, time.Now())
	if err != nil {
		return nil, 0, err
	}
	type row struct {
		TenantSummary
		values []string
	}
	rows, err := s.pool.Query(ctx, order.sql(q, pg), q.args...)
	if err != nil {
		return nil, 0, pg.misplaced(err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (t row, err error) {
		err = r.Scan(&t.Key, &t.ID, &t.Settings.Name, &t.Metadata, &t.Version, &t.CreatedAt, &t.UpdatedAt, &t.Destinations, &t.Topics,
			&t.values)
		return t, err
	})
	if err != nil {
		return nil, 0, pg.misplaced(err)
	}
	page := newPage(pg, cmp.Or(tq.Sort, SortCreated), list, func(t row) any {
		if len(order.values) == 0 {
			return t.Key
		}
		return tenantPlace{t.values, t.Key, order.types[0] == "bigint"}
	})
	out := make([]TenantSummary, len(page.Items))
	for i, t := range page.Items {
		out[i] = t.TenantSummary
	}
	return pageOf(page, out), count, nil
}

// sql chooses the tenants of a page by the conditions of q, in this order. What lists show of them is read for these alone.
func (o *tenantOrder) sql(q *query, pg *keyset) string {
	shown, named, compared, places := []string{"t.key"}, []string{"p.key"}, []string{}, []string{}
	for i, v := range o.values {
		name := "v" + strconv.Itoa(i)
		shown, compared = append(shown, v+" "+name), append(compared, "p."+name)
	}
	named = append(named, compared...)
	compared = append(compared, "p.key")
	from := "select " + strings.Join(shown, ", ") + " from tenants t" + o.from + q.sql()
	after := ""
	var at tenantPlace
	if len(o.values) == 0 {
		if pg.decode(&at.Key) {
			after = q.bind(" where p.key "+pg.op()+" ?", at.Key)
		}
	} else if pg.decode(&at) && len(at.Values) == len(o.values) {
		for i, v := range at.Values {
			places = append(places, q.bind("?::text::"+o.types[i], v))
		}
		after = " where (" + strings.Join(compared, ", ") + ") " + pg.op() + " (" + strings.Join(places, ", ") + q.bind(", ?)", at.Key)
	}
	var by, texts []string
	for _, c := range compared {
		by = append(by, c+" "+pg.order())
	}
	for _, c := range compared[:len(o.values)] {
		texts = append(texts, c+"::text")
	}
	sorted := " order by " + strings.Join(by, ", ")
	return "with p as materialized (select " + strings.Join(named, ", ") + " from (" + from + ") p" + after + sorted + q.limit(pg.limit+1) + `)
		select t.key, t.id, t.settings->>'name', t.metadata, t.version, t.created_at, t.updated_at,
		(select count(*) from destinations d where d.tenant_key = t.key and d.deleted_at is null),
		(select coalesce(array_agg(distinct x order by x), '{}') from destinations d, jsonb_array_elements_text(d.topics) x
			where d.tenant_key = t.key and d.deleted_at is null), array[` + strings.Join(texts, ", ") + "]::text[] from p join tenants t on t.key = p.key" + sorted
}

// TenantSummary returns one tenant as lists show it.
func (s *Store) TenantSummary(ctx context.Context, scope Scope, id string) (*TenantSummary, error) {
	page, _, err := s.Tenants(ctx, scope, TenantQuery{IDs: []string{id}})
	if err != nil {
		return nil, err
	}
	if len(page.Items) == 0 {
		return nil, notFound("There is no tenant %q.", cut(id, 80))
	}
	return &page.Items[0], nil
}
