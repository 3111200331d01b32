package outbound

import (
	"bytes"
	"net/url"
	"strings"

	"github.com/waybill-dev/waybill/adapters"
)

// redactor cuts known secrets out of what a receiver says. Receivers do repeat them: echo services answer with the
// headers that they got, and error pages quote them.
type redactor struct {
	values [][]byte
}

// minSecret is the length from which on a value is searched for. Shorter ones would blot out innocent text.
const minSecret = 6

func newRedactor(secrets []string) (r redactor) {
	seen := map[string]bool{}
	add := func(s string) {
		if len(s) >= minSecret && !seen[s] {
			seen[s] = true
			r.values = append(r.values, []byte(s))
		}
	}
	for _, s := range secrets {
		// "Bearer abc": the part behind the scheme is the secret, also where it stands alone.
		if _, value, ok := strings.Cut(s, " "); ok {
			add(s)
			s = strings.TrimSpace(value)
		}
		add(s)
		add(url.QueryEscape(s))
		add(jsonEscaped(s))
	}
	return r
}

// jsonEscaped is s as most JSON writers put it between quotes.
func jsonEscaped(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `/`, `\/`).Replace(s)
}

func (r redactor) text(s string) string {
	for _, v := range r.values {
		if strings.Contains(s, string(v)) {
			s = strings.ReplaceAll(s, string(v), masked)
		}
	}
	return s
}

func (r redactor) bytes(b []byte) []byte {
	for _, v := range r.values {
		if bytes.Contains(b, v) {
			b = bytes.ReplaceAll(b, v, []byte(masked))
		}
	}
	return b
}

func (r redactor) clean(e *adapters.Error) {
	if len(r.values) == 0 {
		return
	}
	e.Message, e.Advice, e.Raw = r.text(e.Message), r.text(e.Advice), r.text(e.Raw)
}
