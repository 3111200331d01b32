package jobs

import (
	"log/slog"
	"time"

	"github.com/waybill-dev/waybill/internal/traces"
	"github.com/waybill-dev/waybill/models"
)

// trace begins the span of an attempt, which belongs to that of its event's publish.
func (r *run) trace(v *version, d *models.Ready, started time.Time) traces.Span {
	e := v.target
	return r.w.store.Traces.Attempt(d.Event.TraceParent, d.Event.TraceState,
		traces.Attempt{Tenant: e.TenantID, Destination: e.ID, Type: e.Type,
			Event: d.Event.ID, Topic: d.Event.Topic, Number: d.Attempts + 1, Started: started})
}

// logAttempt ends the span of an attempt and writes its line into the log: all that is known of it but the payload, headers and
// the answer's body, which are not everybody's to read. Attempts that succeed are told at level debug.
func (r *run) logAttempt(v *version, d *models.Ready, o *models.Outcome, span traces.Span) {
	a, e := o.Attempt, v.target
	if !a.OK {
		span.Failed(a.ErrorClass, a.Error)
	}
	span.End(a.Code, o.Status)
	level := slog.LevelDebug
	if !a.OK {
		level = slog.LevelInfo
	}
	if a.OK && !r.w.log.Enabled(r.ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String("attempt", a.ID()), slog.String("tenant", e.TenantID), slog.String("destination", e.ID),
		slog.String("type", e.Type),
		slog.String("event", d.Event.ID), slog.String("topic", d.Event.Topic), slog.Int("number", a.Number),
		slog.String("trigger", a.Trigger),
		slog.String("status", o.Status), slog.Bool("ok", a.OK), slog.Int("code", a.Code), ms("took_ms", a.Duration),
		ms("waited_ms", max(0, a.StartedAt.Sub(o.Due))),
		ms("since_event_ms", a.StartedAt.Add(a.Duration).Sub(d.Event.Received)), slog.Int("bytes", len(d.Event.Data)),
		slog.Int64("job", r.job.ID)}
	t := a.Timing
	for _, stage := range []struct {
		name string
		took time.Duration
	}{{"dns_ms", t.DNS}, {"connect_ms", t.Connect}, {"tls_ms", t.TLS}, {"first_byte_ms", t.FirstByte}} {
		if stage.took > 0 {
			attrs = append(attrs, ms(stage.name, stage.took))
		}
	}
	if a.Actor != "" {
		attrs = append(attrs, slog.String("actor", a.Actor))
	}
	if !a.OK {
		attrs = append(attrs, slog.String("error_class", a.ErrorClass), slog.String("error", a.Error))
	}
	if o.Reason != "" {
		attrs = append(attrs, slog.String("reason", o.Reason))
	}
	if !o.Next.IsZero() {
		attrs = append(attrs, slog.Time("next", o.Next))
	}
	if id := traces.ID(span.Parent); id != "" {
		attrs = append(attrs, slog.String("trace_id", id))
	}
	if !a.OK {
		a.Log = keepLog(a, attrs)
	}
	if a.PrivateError != "" {
		attrs = append(attrs, slog.String("private", a.PrivateError))
	}
	if r.w.log.Enabled(r.ctx, level) {
		r.w.log.LogAttrs(r.ctx, level, "attempt", attrs...)
	}
}

// ms is a duration in the unit of the API's answers.
func ms(name string, d time.Duration) slog.Attr {
	return slog.Float64(name, float64(d.Microseconds())/1000)
}
