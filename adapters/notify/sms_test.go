package notify

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func twilioFake(t *testing.T) *fake {
	return startFake(t, func(r *http.Request, body []byte) (int, string) {
		if err := checkTwilio(r, body); err != nil {
			t.Errorf("%v in %s", err, body)
			return 400, fmt.Sprintf(`{"code":21602,"message":%q,"more_info":"","status":400}`, err)
		}
		return 201, `{"sid":"SM0123456789abcdef0123456789abcdef","status":"queued","error_code":null,"error_message":null,"num_segments":"1"}`
	})
}

func checkTwilio(r *http.Request, body []byte) error {
	user, password, ok := r.BasicAuth()
	if !ok || user != twilioSID || password != twilioToken {
		return fmt.Errorf("Basic %s", user)
	}
	if r.Method != http.MethodPost || r.URL.Path != "/2010-04-01/Accounts/"+twilioSID+"/Messages.json" ||
		r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		return fmt.Errorf("%s %s %s", r.Method, r.URL, r.Header.Get("Content-Type"))
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return err
	}
	from := form.Get("From") + form.Get("MessagingServiceSid")
	text := form.Get("Body")
	if len(form) != 3 || form.Get("To") != "+15558675310" || from == "" || text == "" || utf8.RuneCountInString(text) > smsMost ||
		strings.ContainsAny(text, "\n\r\x00") {
		return fmt.Errorf("form %v, %d characters", form, utf8.RuneCountInString(text))
	}
	return nil
}

func openTwilio(t *testing.T, srv *httptest.Server, from string) Channel {
	env := trust(testEnv(), srv)
	env.TwilioURL = srv.URL
	return open(t, env, "sms", map[string]string{"account_sid": twilioSID, "from": from, "to": "+15558675310"},
		map[string]string{"auth_token": twilioToken})
}

func TestSMS(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	every := notices()
	for _, name := range slices.Sorted(maps.Keys(every)) {
		f := twilioFake(t)
		if r := mustSend(t, openTwilio(t, f.Server, "+15017122661"), every[name]); r.Code != 201 ||
			r.Answer != "queued, SM0123456789abcdef0123456789abcdef" {
			t.Errorf("%s: %+v", name, r)
		}
		form, _ := url.ParseQuery(string(f.got()[0]))
		if form.Get("From") != "+15017122661" {
			t.Errorf("%s: %v", name, form)
		}
		fmt.Fprintf(&all, "%s: %s\n", name, form.Get("Body"))
	}
	golden(t, "sms.txt", []byte(all.String()))
	f := twilioFake(t)
	service := "MG0123456789abcdef0123456789abcdef"
	mustSend(t, openTwilio(t, f.Server, service), failing())
	if form, _ := url.ParseQuery(string(f.got()[0])); form.Get("MessagingServiceSid") != service || form.Has("From") {
		t.Errorf("%v", form)
	}
}

// TestSMSSaysTheErrorOnce: a summary that tells the error is not followed by it, and the last event is named.
func TestSMSSaysTheErrorOnce(t *testing.T) {
	t.Parallel()
	text := smsText(local())
	if strings.Count(text, "The receiver answered 502") != 1 || !strings.Contains(text, "Last event: order-17.") {
		t.Error(text)
	}
	n := local()
	n.Summary = "50 deliveries in a row failed."
	if text := smsText(n); strings.Count(text, "The receiver answered 502") != 1 {
		t.Error(text)
	}
}
