package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models/modelstest"
)

// ask calls the API of a process.
func (p *process) ask(method, path, body string, into any) int {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.base+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && into != nil && resp.StatusCode < 300 {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		p.t.Fatalf("%s %s: %s: %v", method, path, raw, err)
	}
	return resp.StatusCode
}

// TestErasureOfAKilledProcess kills the process in the middle of an erasure. The next one goes on, and erases each event once.
func TestErasureOfAKilledProcess(t *testing.T) {
	t.Parallel()
	url := modelstest.DB(t)
	db := modelstest.Connect(t, url)
	p := startProcess(t, "serve", "DATABASE_URL="+url)
	if status := p.ask("PUT", "/tenants/acme", "{}", nil); status != 201 {
		t.Fatalf("status %d", status)
	}
	const batches, size = 12, 500
	for i := range batches {
		var events []string
		for n := range size {
			events = append(events, fmt.Sprintf(`{"tenant_id":"acme","topic":"t","data":{"n":%d,"mail":"canary"}}`, i*size+n))
		}
		if status := p.ask("POST", "/publish/batch", "["+strings.Join(events, ",")+"]", nil); status != 202 {
			t.Fatalf("status %d", status)
		}
	}
	var x struct {
		ID, Status     string
		Total          *int
		Erased, Looked int
	}
	if status := p.ask("POST", "/erasures", `{"tenant_id":"acme","all":true}`, &x); status != 202 {
		t.Fatalf("status %d", status)
	}
	erased := func() (n int) {
		if err := db.QueryRow(t.Context(), "select count(*) from events where erased_at is not null").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for erased() == 0 {
		<-time.After(time.Millisecond)
	}
	p.kill()
	if n := erased(); n == batches*size {
		t.Fatal("the erasure was over before the process was killed")
	}
	p = startProcess(t, "serve", "DATABASE_URL="+url)
	for deadline := time.Now().Add(time.Minute); x.Status != "done"; <-time.After(20 * time.Millisecond) {
		if p.ask("GET", "/erasures/"+x.ID, "", &x); time.Now().After(deadline) {
			t.Fatalf("it did not go on: %+v", x)
		}
	}
	if x.Erased != batches*size || x.Looked != batches*size || erased() != batches*size {
		t.Errorf("%+v, %d are erased", x, erased())
	}
}
