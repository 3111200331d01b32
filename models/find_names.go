package models

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/adapters"
)

// rank sorts what a text was found in: it is the whole, its beginning, or within. Then by name.
func rank(text string, list []Found) {
	text = strings.ToLower(text)
	of := func(f Found) int {
		best := 3
		for _, s := range []string{f.Title, f.ID} {
			switch s = strings.ToLower(s); {
			case s == text:
				best = min(best, 0)
			case strings.HasPrefix(s, text):
				best = min(best, 1)
			case strings.Contains(s, text):
				best = min(best, 2)
			}
		}
		return best
	}
	slices.SortStableFunc(list, func(a, b Found) int {
		return cmp.Or(of(a)-of(b), strings.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title)), strings.Compare(a.ID, b.ID))
	})
}

// findTenants finds tenants by part of their id, name or metadata.
func (s *Store) findTenants(ctx context.Context, scope Scope, text string) ([]Found, error) {
	q := newQuery()
	q.and("t.deleted_at is null")
	q.and("t.id <> ?", OperatorTenant)
	scope.where(q, "t.key")
	const name = "coalesce(nullif(t.settings->>'name', ''), t.id)"
	const metadata = "coalesce((select string_agg(m.value, E'\\n') from jsonb_each_text(t.metadata) m), '')"
	q.and("position(lower(?) in lower(t.id || E'\\n' || "+name+" || E'\\n' || "+metadata+")) > 0", text)
	rows, err := s.pool.Query(ctx,
		"select t.id, "+name+" from tenants t"+q.sql()+" order by "+q.bind("position(lower(?) in lower("+name+")) = 1 or position(lower(?) in lower(t.id)) = 1", text, text)+
			" desc, t.id"+q.limit(foundLooked), q.args...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Found, error) {
		f := Found{Kind: FoundTenant}
		err := row.Scan(&f.ID, &f.Title)
		f.TenantID = f.ID
		return f, err
	})
	rank(text, list)
	return list, err
}

// findDestinations finds destinations by part of their name, id, type or host.
func (s *Store) findDestinations(ctx context.Context, scope Scope, text string) ([]Found, error) {
	db := s.DB.WithContext(ctx).Where("deleted_at is null")
	if !scope.All() {
		db = db.Where("tenant_key in ?", scope.keys())
	}
	// Settings are looked through as a whole first, and then closely: no secret in them is to be found out by guessing.
	like := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text) + "%"
	labels := typesLabelled(text)
	db = db.Where("name ilike ? or id ilike ? or type in ? or config::text ilike ?", like, like, append(labels, ""), like)
	var all []*Destination
	if err := db.Order(pgxOrder).Limit(foundLooked).Find(&all).Error; err != nil {
		return nil, err
	}
	tenants, err := s.tenantIDs(ctx, all)
	if err != nil {
		return nil, err
	}
	var out []Found
	for _, d := range all {
		if err := s.open(d, tenants[d.TenantKey]); err != nil {
			return nil, err
		}
		label, _ := d.Target()
		if host := hostOf(label); slices.Contains(labels, d.Type) || slices.ContainsFunc([]string{d.Name, d.ID, host},
			func(s string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(text)) }) {
			out = append(out, Found{Kind: FoundDestination, ID: d.ID, TenantID: d.TenantID, Title: d.Title(),
				Detail: strings.TrimSpace(d.Type + " " + host)})
		}
	}
	rank(text, out)
	return out, nil
}

// pgxOrder is the order in which destinations are looked at closely.
const pgxOrder = "name = '', lower(name), key"

func (s *Store) tenantIDs(ctx context.Context, list []*Destination) (map[int64]string, error) {
	keys := make([]int64, len(list))
	for i, d := range list {
		keys[i] = d.TenantKey
	}
	rows, err := s.pool.Query(ctx, "select key, id from tenants where key = any($1)", keys)
	if err != nil {
		return nil, err
	}
	out := map[int64]string{}
	var key int64
	var id string
	_, err = pgx.ForEachRow(rows, []any{&key, &id}, func() error {
		out[key] = id
		return nil
	})
	return out, err
}

// typesLabelled lists the types of destinations whose word or label holds a text.
func typesLabelled(text string) (out []string) {
	text = strings.ToLower(text)
	for _, r := range adapters.All() {
		if strings.Contains(strings.ToLower(r.Spec.Name+"\n"+r.Spec.Label), text) {
			out = append(out, r.Spec.Name)
		}
	}
	return out
}

// hostOf is the host in what says where events go, or all of it where it is no URL, such as the name of a queue.
func hostOf(label string) string {
	_, rest, ok := strings.Cut(label, "://")
	if !ok {
		return label
	}
	host := rest[:len(rest)-len(strings.TrimLeftFunc(rest, func(r rune) bool { return !strings.ContainsRune("/?# ", r) }))]
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	return host
}

// findTopics finds topics of the catalogue by part of their name or description, or where there is none, those to which
// destinations subscribe.
func (s *Store) findTopics(ctx context.Context, scope Scope, text string) ([]Found, error) {
	all, err := s.TopicCatalogue(ctx)
	if err != nil {
		return nil, err
	}
	var out []Found
	for _, t := range all {
		if strings.Contains(strings.ToLower(t.Name+"\n"+t.Description), strings.ToLower(text)) {
			out = append(out, Found{Kind: FoundTopic, ID: t.Name, Title: t.Name, Detail: cut(t.Description, 120)})
		}
	}
	if len(all) > 0 {
		rank(text, out)
		return out, nil
	}
	q := newQuery()
	q.and("d.deleted_at is null")
	scope.where(q, "d.tenant_key")
	q.and("x <> ?", AllTopics)
	q.and("position(lower(?) in lower(x)) > 0", text)
	rows, err := s.pool.Query(ctx,
		"select distinct x from destinations d, jsonb_array_elements_text(d.topics) x"+q.sql()+" order by x"+q.limit(foundLooked), q.args...)
	if err != nil {
		return nil, err
	}
	out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Found, error) {
		f := Found{Kind: FoundTopic}
		err := row.Scan(&f.ID)
		f.Title = f.ID
		return f, err
	})
	rank(text, out)
	return out, err
}
