package models

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// cursorLists are the lists that are read page by page, by the name of their method.
var cursorLists = map[string]listOf{
	"Events":        ofTenants((*Store).Events),
	"Deliveries":    ofTenants((*Store).Deliveries),
	"Attempts":      ofTenants((*Store).Attempts),
	"BulkRetries":   ofTenants((*Store).BulkRetries),
	"AuditLog":      ofTenants((*Store).AuditLog),
	"Erasures":      ofTenants((*Store).Erasures),
	"Moves":         {MoveQuery{}, []int64(nil), with(func(s *Store, q MoveQuery) (any, error) { return s.Moves(ctx, q) })},
	"Alerts":        ofOperators((*Store).Alerts),
	"Notifications": ofOperators((*Store).Notifications),
	"Tenants": {TenantQuery{}, []int64(nil), with(func(s *Store, q TenantQuery) (any, error) {
		p, _, err := s.Tenants(ctx, AllTenants(), q)
		return p, err
	})},
}

var ctx = context.Background()

type listOf struct {
	query any // its struct, empty
	owner any // whose rows are listed: all tenants', or the operators'
	read  func(s *Store, query reflect.Value) error
}

// ofTenants is a list of what belongs to all tenants.
func ofTenants[Q, T any](read func(*Store, context.Context, Scope, Q) (T, error)) listOf {
	var empty Q
	return listOf{empty, []int64(nil), with(func(s *Store, q Q) (any, error) { return read(s, ctx, AllTenants(), q) })}
}

// ofOperators is a list of what belongs to the operators when no tenant is named.
func ofOperators[Q, T any](read func(*Store, context.Context, Scope, string, Q) (T, error)) listOf {
	var empty Q
	return listOf{empty, int64(0), with(func(s *Store, q Q) (any, error) { return read(s, ctx, AllTenants(), "", q) })}
}

func with[Q any](read func(*Store, Q) (any, error)) func(*Store, reflect.Value) error {
	return func(s *Store, q reflect.Value) error {
		_, err := read(s, q.Interface().(Q))
		return err
	}
}

// filterValues are two values that a filter takes, by the name of its vocabulary or its parameter.
var filterValues = map[string][2]string{
	"status": {StatusFailed, StatusHeld}, "AttemptQuery.status": {AttemptSucceeded, AttemptFailed},
	"BulkQuery.status":    {BulkRunning, BulkDone},
	"ErasureQuery.status": {ErasureRunning, ErasureDone}, "MoveQuery.status": {MoveRunning, MoveCancelled},
	"AlertQuery.status": {AlertOpen, AlertResolved}, "NotificationQuery.status": {NotificationSent, NotificationFailed},
	"kind":        {"opened", "test"},
	"error_class": {"timeout", "dns"}, "trigger": {TriggerManual, TriggerBulk}, "actor_type": {ActorUser, ActorServer},
	"outcome": {AuditOK, AuditFailed},
	"code":    {"500", "connect"}, "alert_id": {"alt_01890a5d-ac96-774b-bcce-b302099a8057", "alt_01890a5d-ac96-774b-bcce-b302099a8058"},
	"EventQuery.order_by": {SortTopic, SortAttempts}, "DeliveryQuery.order_by": {SortTopic, SortLastAttempt},
	"TenantQuery.order_by": {SortTrouble, SortName},
}

// sample sets a field of a query struct to one of two values.
func sample(t *testing.T, list, name string, v reflect.Value, which int) {
	t.Helper()
	words, ok := filterValues[list+"."+name]
	if !ok {
		words, ok = filterValues[name]
	}
	if !ok {
		words = [2]string{"one", "two"}
	}
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Date(2026, 1, 1+which, 0, 0, 0, 0, time.UTC)
	case *string:
		*x = words[which]
	case *[]string:
		*x = words[which : which+1]
	case *[]Code:
		*x = []Code{Code(words[which])}
	case **bool:
		yes := which == 1
		*x = &yes
	default:
		t.Fatalf("%s of %s: the test has no value of type %s", name, list, v.Type())
	}
}

// TestACursorBelongsToItsFilters makes a cursor under one value of each filter of each list: the list goes on with it under that
// value, and refuses it under another one and under none.
func TestACursorBelongsToItsFilters(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for _, list := range cursorLists {
		empty := reflect.ValueOf(list.query)
		name := empty.Type().Name()
		var fields []string
		eachField(empty, func(f reflect.StructField, _ reflect.Value) { fields = append(fields, f.Tag.Get("query")) })
		for i, field := range fields {
			// set is the query with the field set to a value, or with -1 without it.
			set := func(which int) reflect.Value {
				q := reflect.New(empty.Type()).Elem()
				n := 0
				eachField(q, func(_ reflect.StructField, v reflect.Value) {
					if n == i && which >= 0 {
						sample(t, name, field, v, which)
					}
					n++
				})
				return q
			}
			next := cursorUnder(t, list.owner, set(0).Interface())
			for which, want := range map[int]bool{0: true, 1: false, -1: false} {
				q := set(which)
				q.FieldByName("Page").Set(reflect.ValueOf(PageQuery{Limit: 1, Next: next}))
				err := list.read(s, q)
				refused := IsKind(err, KindMalformed) && strings.Contains(err.Error(), "other filters")
				if refused == want || err != nil && !refused && !IsKind(err, KindNotFound) {
					t.Errorf("%s: a cursor made under the first value of %s, with value %d: %v", name, field, which, err)
				}
			}
		}
	}
}

// cursorUnder is a cursor of a list, to before its first row.
func cursorUnder(t *testing.T, owner, query any) string {
	t.Helper()
	switch q := query.(type) { // what says the same in two ways is read as one
	case EventQuery:
		q.ReceivedSpan, q.Sort = q.ends(), cmp.Or(q.Sort, SortReceived)
		query = q
	case DeliveryQuery:
		q.ReceivedSpan, q.Sort = q.ends(), cmp.Or(q.Sort, SortCreated)
		query = q
	case AttemptQuery:
		q.StartedSpan = q.within()
		query = q
	}
	k, err := PageQuery{}.keyset(owner, query)
	if err != nil {
		t.Fatal(err)
	}
	return k.cursor(nil)
}

// noLists take the query of a list and answer no part of it, so that they have no cursors.
var noLists = []string{"Arrived", "CheckEvents", "CountEvents", "EventHistogram"}

// TestEveryListIsHeldAgainstItsCursors finds the lists of the store, so that a new one is tested as well.
func TestEveryListIsHeldAgainstItsCursors(t *testing.T) {
	t.Parallel()
	store := reflect.TypeFor[*Store]()
	found := 0
	for i := range store.NumMethod() {
		m := store.Method(i)
		for j := range m.Type.NumIn() {
			in := m.Type.In(j)
			if in.Kind() != reflect.Struct {
				continue
			}
			if f, ok := in.FieldByName("Page"); !ok || f.Type != reflect.TypeFor[PageQuery]() {
				continue
			}
			if slices.Contains(noLists, m.Name) {
				continue
			}
			if found++; reflect.TypeOf(cursorLists[m.Name].query) != in {
				t.Errorf("%s takes a %s: add it to cursorLists", m.Name, in.Name())
			}
		}
	}
	if found != len(cursorLists) {
		t.Errorf("the store has %d lists, and the tests %d", found, len(cursorLists))
	}
}

// TestFiltersAreDeclared looks at the tags of query structs: each field has a parameter of its own, and a label unless it is an order.
func TestFiltersAreDeclared(t *testing.T) {
	t.Parallel()
	queries := []any{DestinationQuery{}}
	for _, list := range cursorLists {
		queries = append(queries, list.query)
	}
	for _, query := range queries {
		var names []string
		eachField(reflect.ValueOf(query), func(f reflect.StructField, _ reflect.Value) {
			name, label := f.Tag.Get("query"), f.Tag.Get("label")
			if name == "" || slices.Contains(names, name) || label == "" && name != "order_by" {
				t.Errorf("%T.%s: parameter %q, label %q", query, f.Name, name, label)
			}
			names = append(names, name)
		})
	}
	want := []Filter{{"status", "Status", ""}, {"destination_id", "Destination", ""}, {"rule_id", "Rule", ""}}
	if got := FiltersOf[AlertQuery](); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestCursorsOutliveANewFilter: a filter that is not given changes no cursor, so that clients page on while a release is rolled out
// that has one more.
func TestCursorsOutliveANewFilter(t *testing.T) {
	t.Parallel()
	type query struct {
		Topics []string `query:"topic"`
		Page   PageQuery
	}
	before, err := PageQuery{}.keyset([]int64{1}, query{Topics: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	after, err := PageQuery{Next: before.cursor(7)}.keyset([]int64{1}, withMore())
	var at int
	if err != nil || !after.decode(&at) || at != 7 {
		t.Errorf("%v, at %d", err, at)
	}
}

// withMore is the query above as the next release declares it.
func withMore() any {
	type query struct {
		Before time.Time `query:"before"`
		Topics []string  `query:"topic"`
		New    *bool     `query:"new"`
		Page   PageQuery
	}
	return query{Topics: []string{"a"}}
}
