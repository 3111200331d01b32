package app

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/modelstest"
)

// TestBulkRetrySurvivesKills kills the worker twice in the middle of a bulk retry. Every delivery is retried, and none
// twice but those that were under way when a worker died.
func TestBulkRetrySurvivesKills(t *testing.T) {
	t.Parallel()
	const events = 400
	url := modelstest.DB(t)
	db := "DATABASE_URL=" + url
	l := newLedger(t)
	web := startProcess(t, "web", db)
	l.setUp(web.base)
	worker := startProcess(t, "work", db)
	a := &testApp{TB: t, base: web.base, key: testKey}
	var list []string
	for i := range events {
		id := fmt.Sprintf("e-%d", i)
		list = append(list, `{"tenant_id":"acme","id":"`+id+`","data":{}}`)
		l.accept(id)
	}
	a.want(202, "POST", "/publish/batch", "["+strings.Join(list, ",")+"]")
	l.settle(web.base)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "update deliveries set status = 'failed'"); err != nil {
		t.Fatal(err)
	}
	out := a.want(202, "POST", "/retries", `{"tenant_id":"acme","rate":100}`)
	path := "/retries/" + out.str("id")
	again := func() (n, more int) { // how many events came once more, and how many oftener than that
		for i := range events {
			if got := l.received(fmt.Sprintf("e-%d", i)); got > 1 {
				n++
				more += got - 2
			}
		}
		return n, more
	}
	for _, after := range []int{60, 180} {
		l.await(func() bool { n, _ := again(); return n >= after })
		worker.kill()
		worker = startProcess(t, "work", db)
	}
	end := a.finished(out.str("id"))
	n, more := again()
	if n != events || more > 2*underWay || end.num("delivered") != events || end.num("total") != events || end.str("status") != "done" {
		t.Errorf("%d of %d were retried, %d more than once: %s", n, events, more, end.raw)
	}
	var attempts, deliveries int
	if err := conn.QueryRow(t.Context(),
		"select count(*), count(distinct event_id) from attempts where retry_id is not null").Scan(&attempts, &deliveries); err != nil {
		t.Fatal(err)
	}
	if attempts != events || deliveries != events {
		t.Errorf("%d attempts of %d deliveries are recorded: %s", attempts, deliveries, a.want(200, "GET", path, nil).raw)
	}
	wellAgain(t, map[string]string{"DATABASE_URL": url})
	t.Logf("%d retried, %d of them sent again after a kill", n, more)
}
