package outbound

import (
	"bytes"
	"net/url"
	"strings"

	"github.com/waybill-dev/waybill/adapters"
)

// Redactor cuts known secrets out of what a receiver says. Receivers do repeat them: echo services answer with the
// headers that they got, and error pages quote them. The zero value knows none.
type Redactor struct {
	values [][]byte
}

// minSecret is the length from which on a value is searched for. Shorter ones would blot out innocent text.
const minSecret = 6

// NewRedactor makes one that looks for these values, also where they are escaped for URLs or JSON. Values that are
// shorter than six bytes are not looked for.
func NewRedactor(secrets []string) (r Redactor) {
	seen := map[string]bool{}
	add := func(s string) {
		if len(s) >= minSecret && !seen[s] {
			seen[s] = true
			r.values = append(r.values, []byte(s))
		}
	}
	for _, s := range secrets {
		// "Bearer abc": the part behind the scheme is the secret, also where it stands alone.
		whole := []string{s}
		if _, value, ok := strings.Cut(s, " "); ok {
			whole = append(whole, strings.TrimSpace(value))
		}
		for _, s := range whole {
			add(s)
			add(url.QueryEscape(s))
			add(jsonEscaped(s))
		}
	}
	return r
}

// jsonEscaped is s as most JSON writers put it between quotes.
func jsonEscaped(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `/`, `\/`).Replace(s)
}

// Text returns s with every secret masked.
func (r Redactor) Text(s string) string {
	for _, v := range r.values {
		if strings.Contains(s, string(v)) {
			s = strings.ReplaceAll(s, string(v), masked)
		}
	}
	return s
}

func (r Redactor) bytes(b []byte) []byte {
	for _, v := range r.values {
		if bytes.Contains(b, v) {
			b = bytes.ReplaceAll(b, v, []byte(masked))
		}
	}
	return b
}

// Clean masks every secret in the texts of e.
func (r Redactor) Clean(e *adapters.Error) {
	if len(r.values) == 0 {
		return
	}
	e.Message, e.Advice, e.Raw, e.Log = r.Text(e.Message), r.Text(e.Advice), r.Text(e.Raw), r.lines(e.Log)
}

// lines returns a copy of lines with every secret masked: others may hold the same ones.
func (r Redactor) lines(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = r.Text(l)
	}
	return out
}

// answer masks every secret in what came back.
func (r Redactor) answer(resp *Response) {
	if len(r.values) == 0 {
		return
	}
	resp.RespHeader, resp.Location, resp.Body, resp.Log = r.Text(resp.RespHeader), r.Text(resp.Location), r.bytes(resp.Body),
		r.lines(resp.Log)
}
