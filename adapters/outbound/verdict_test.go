package outbound

import (
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	const (
		transient = adapters.KindTransient
		permanent = adapters.KindPermanent
		throttled = adapters.KindThrottled
		gone      = adapters.KindGone
	)
	tests := []struct {
		code  int
		kind  adapters.Kind
		class adapters.Class
	}{
		{301, transient, adapters.ClassRedirect}, {302, transient, adapters.ClassRedirect}, {304, transient, adapters.ClassRedirect},
		{307, transient, adapters.ClassRedirect}, {308, transient, adapters.ClassRedirect},
		{400, permanent, adapters.ClassRejected}, {401, transient, adapters.ClassAuth}, {403, transient, adapters.ClassAuth},
		{404, transient, adapters.ClassNotFound}, {405, permanent, adapters.ClassRejected}, {407, transient, adapters.ClassAuth},
		{408, transient, adapters.ClassTimeout}, {409, transient, adapters.ClassRejected}, {410, gone, adapters.ClassGone},
		{411, permanent, adapters.ClassRejected}, {413, permanent, adapters.ClassTooLarge}, {414, permanent, adapters.ClassRejected},
		{415, permanent, adapters.ClassRejected}, {418, transient, adapters.ClassRejected}, {422, permanent, adapters.ClassRejected},
		{425, transient, adapters.ClassRejected}, {429, throttled, adapters.ClassThrottled}, {431, permanent, adapters.ClassRejected},
		{500, transient, adapters.ClassServer}, {502, transient, adapters.ClassServer}, {503, throttled, adapters.ClassServer},
		{504, transient, adapters.ClassServer}, {599, transient, adapters.ClassServer}, {999, transient, adapters.ClassServer},
	}
	for _, tt := range tests {
		e := Verdict(&Response{Receipt: adapters.Receipt{Code: tt.code}})
		if e == nil {
			t.Errorf("%d counts as success", tt.code)
		} else if e.Kind != tt.kind || e.Class != tt.class || e.Message == "" || e.Advice == "" || e.Raw == "" {
			t.Errorf("%d: %+v", tt.code, e)
		}
	}
	for _, code := range []int{200, 201, 202, 204, 299} {
		for _, control := range []string{"", ControlDisable, ControlAbort} {
			if e := Verdict(&Response{Receipt: adapters.Receipt{Code: code}, Control: control}); e != nil {
				t.Errorf("%d with %q is no success: %v", code, control, e)
			}
		}
	}
	for _, code := range []int{302, 400, 404, 429, 503} {
		if e := Verdict(&Response{Receipt: adapters.Receipt{Code: code}, Control: ControlDisable}); e.Kind != gone ||
			e.Class != adapters.ClassGone {
			t.Errorf("%d with disable: %+v", code, e)
		}
		if e := Verdict(&Response{Receipt: adapters.Receipt{Code: code}, Control: ControlAbort}); e.Kind != adapters.KindAbort ||
			e.Class != adapters.ClassAborted {
			t.Errorf("%d with abort-message: %+v", code, e)
		}
	}
	for _, code := range []int{429, 503} {
		e := Verdict(&Response{Receipt: adapters.Receipt{Code: code, Retry: 30 * time.Second}})
		if e.Kind != throttled || e.Class != adapters.ClassThrottled || e.After != 30*time.Second || !strings.Contains(e.Message, "30 s") {
			t.Errorf("%d with a wait: %+v", code, e)
		}
	}
	e := Verdict(&Response{Receipt: adapters.Receipt{Code: 302}, Location: "https://u:p@b.example/login?ticket=secret#x"})
	if e.Message != "Redirected to https://b.example/login; redirects are not followed." {
		t.Errorf("redirect: %s", e.Message)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	tests := map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"120":                            2 * time.Minute,
		" 7 ":                            7 * time.Second,
		"-3":                             0,
		"1.5":                            0,
		"soon":                           0,
		"99999999999999999999999":        maxRetryAfter,
		"400000000":                      maxRetryAfter,
		"Sun, 03 May 2026 12:00:30 GMT":  30 * time.Second,
		"Sun, 03 May 2026 11:00:00 GMT":  0,
		"Sunday, 03-May-26 12:01:00 GMT": time.Minute,
		"Fri, 31 Dec 2999 23:59:59 GMT":  maxRetryAfter,
	}
	for in, want := range tests {
		if got := RetryAfter(in, now); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

func TestHuman(t *testing.T) {
	t.Parallel()
	for in, want := range map[time.Duration]string{15 * time.Second: "15 s", 1500 * time.Millisecond: "1.5 s", 2 * time.Second: "2 s",
		40 * time.Millisecond: "40 ms", 300 * time.Microsecond: "less than 1 ms", 90 * time.Second: "90 s"} {
		if got := human(in); got != want {
			t.Errorf("%v: %q, want %q", in, got, want)
		}
	}
}
