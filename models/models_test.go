package models

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/models/seal"
)

func TestRetryWaits(t *testing.T) {
	t.Parallel()
	p := DefaultRetryPolicy()
	for n, want := range map[int]time.Duration{1: 10 * time.Second, 2: 20 * time.Second, 5: 160 * time.Second, 11: 10240 * time.Second,
		50: 6 * time.Hour} {
		if got := p.Wait(n); got != want {
			t.Errorf("after attempt %d: %v, want %v", n, got, want)
		}
	}
	if lo, hi := p.Next(1, 0, 0), p.Next(1, 0, 1); lo != 8*time.Second || hi != 12*time.Second {
		t.Errorf("jitter from %v to %v, want ±20 %%", lo, hi)
	}
	if got := p.Next(1, time.Minute, 0); got != time.Minute {
		t.Errorf("Retry-After of a minute: %v", got)
	}
	if got := p.Next(1, 24*time.Hour, 0.5); got != 6*time.Hour {
		t.Errorf("Retry-After beyond max_interval: %v", got)
	}
	s := RetryPolicy{Schedule: []Duration{Duration(time.Second), Duration(time.Minute)}}.Or(p)
	if s.Attempts() != 3 || s.Wait(2) != time.Minute || len(s.Waits()) != 2 {
		t.Errorf("schedule: %d attempts, %v", s.Attempts(), s.Waits())
	}
	if own := (RetryPolicy{MaxAttempts: 3}).Or(s); own.Attempts() != 3 || len(own.Schedule) != 0 {
		t.Errorf("an own limit on top of a default schedule: %+v", own)
	}
}

func TestRetryOn(t *testing.T) {
	t.Parallel()
	p := RetryPolicy{RetryOn: []string{"5xx", "429", "timeout"}}
	for _, c := range []struct {
		code  int
		class string
		want  bool
	}{{500, "server", true}, {503, "throttled", true}, {429, "throttled", true}, {404, "not_found", false}, {0, "timeout", true},
		{0, "dns", false}} {
		if got, _ := p.Retries(c.code, c.class); got != c.want {
			t.Errorf("%d %s: %v", c.code, c.class, got)
		}
	}
	// With the usual ones, what is not named is decided as without any; a policy without any has the default's.
	more := RetryPolicy{}.Or(RetryPolicy{RetryOn: []string{RetryUsual, "400"}})
	for code, want := range map[int][2]bool{400: {true, true}, 422: {false, false}, 500: {false, false}} {
		if retry, decided := more.Retries(code, ""); retry != want[0] || decided != want[1] {
			t.Errorf("%d: %v, %v", code, retry, decided)
		}
	}
	bad := problems{}
	RetryPolicy{RetryOn: []string{"5xx", "usual", "nope", "999"}}.check("retry", bad)
	if len(bad) != 2 {
		t.Errorf("%v", bad)
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{`"10s"`: "10s", `"6h"`: "6h", `90`: "1m30s", `"2d"`: "48h", `"1h30m"`: "1h30m",
		`"250ms"`: "250ms"} {
		var d Duration
		if err := json.Unmarshal([]byte(in), &d); err != nil || d.String() != want {
			t.Errorf("%s: %v, %v", in, d, err)
		}
	}
	for _, in := range []string{`"soon"`, `true`, `1e300`} {
		var d Duration
		if err := json.Unmarshal([]byte(in), &d); err == nil {
			t.Errorf("%s is accepted as %v", in, d)
		}
	}
}

// TestIDs prints and reads the ids that spell out what they name, and refuses others.
func TestIDs(t *testing.T) {
	t.Parallel()
	k := DeliveryKey{uuid.Must(uuid.NewV7()), 123456789}
	if got, ok := parseDeliveryID(k.ID()); !ok || got != k {
		t.Errorf("%s reads as %v", k.ID(), got)
	}
	if got, n, ok := parseAttemptID(k.AttemptID(7)); !ok || got != k || n != 7 {
		t.Errorf("%s reads as %v %d", k.AttemptID(7), got, n)
	}
	if id, ok := parseEventID(eventID(k.EventKey)); !ok || id != k.EventKey {
		t.Error(id)
	}
	for _, s := range []string{"", "dlv_", "dlv_zz", k.ID() + "!", strings.ToUpper(k.ID()), "dlv_" + strings.Repeat("0", 33),
		"att_" + k.ID()[4:], k.AttemptID(0), k.AttemptID(1) + "x"} {
		if _, ok := parseDeliveryID(s); ok {
			t.Errorf("%q reads as a delivery", s)
		}
		if _, _, ok := parseAttemptID(s); ok && s != k.AttemptID(1) {
			t.Errorf("%q reads as an attempt", s)
		}
	}
}

// TestSeal opens what was sealed with the current and with an older key, and nothing that was moved or changed.
func TestSeal(t *testing.T) {
	t.Parallel()
	older, err := seal.New("the key of last year, long enough")
	if err != nil {
		t.Fatal(err)
	}
	old := older.Seal([]byte("secret"), "destination 1")
	keys, err := seal.New("the key of this year, long enough", "the key of last year, long enough")
	if err != nil {
		t.Fatal(err)
	}
	sealed := keys.Seal([]byte("secret"), "destination 1")
	for _, b := range [][]byte{old, sealed} {
		if plain, err := keys.Open(b, "destination 1"); err != nil || string(plain) != "secret" {
			t.Errorf("%q %v", plain, err)
		}
		if _, err := keys.Open(b, "destination 2"); err == nil {
			t.Error("opens in another place")
		}
		changed := append([]byte(nil), b...)
		changed[len(changed)-1] ^= 1
		if _, err := keys.Open(changed, "destination 1"); err == nil {
			t.Error("opens although it was changed")
		}
	}
	if strings.Contains(string(sealed), "secret") || !keys.Current(sealed) || keys.Current(old) {
		t.Error("sealed with the wrong key, or not at all")
	}
	if _, err := older.Open(sealed, "destination 1"); err == nil {
		t.Error("opens without the key")
	}
	if _, err := seal.New("short"); err == nil {
		t.Error("a short key is accepted")
	}
}
