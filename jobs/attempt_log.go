package jobs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// What is kept of an attempt's log: so many lines, and so many bytes of them.
const (
	maxLogLines = 20
	maxLogBytes = 4 << 10
)

// keepLog is what is kept with an attempt that failed: the steps of its adapter, and the line that the worker writes into its
// own log. Attempts that succeed keep nothing, so that they cost nothing. a.Log has the adapter's steps.
func keepLog(a *models.Attempt, attrs []slog.Attr) []string {
	lines := a.Log
	if len(lines) == 0 {
		lines = steps(a)
	}
	var b bytes.Buffer
	record := slog.NewRecord(a.StartedAt.Add(a.Duration).UTC(), slog.LevelInfo, "attempt", 0)
	record.AddAttrs(attrs...)
	if slog.NewTextHandler(&b, nil).Handle(context.Background(), record) != nil {
		return nil // a buffer takes everything
	}
	own := short(strings.TrimSpace(b.String()), maxLogBytes/2)
	left := maxLogBytes - len(own)
	out := make([]string, 0, min(len(lines)+1, maxLogLines))
	for _, l := range lines {
		l = short(strings.Join(strings.Fields(l), " "), 500)
		if left -= len(l) + 1; left < 0 || len(out) == maxLogLines-1 {
			break
		}
		out = append(out, l)
	}
	return append(out, own)
}

// steps tells of an attempt what every type's receipt tells.
func steps(a *models.Attempt) (lines []string) {
	add := func(stage string, took time.Duration) {
		if took > 0 {
			lines = append(lines, fmt.Sprintf("%s: after %s", stage, took.Round(time.Microsecond)))
		}
	}
	add("dns", a.Timing.DNS)
	add("connect", a.Timing.Connect)
	add("tls", a.Timing.TLS)
	add("answer: first byte", a.Timing.FirstByte)
	if a.Code != 0 {
		lines = append(lines, fmt.Sprintf("answer: status %d, body of %d bytes", a.Code, len(a.ResponseBody)))
	}
	if a.RawError != "" {
		lines = append(lines, "error: "+a.RawError)
	}
	return lines
}

func short(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len("…")], "") + "…"
}
