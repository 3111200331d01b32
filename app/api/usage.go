package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

// formatJSON is the other format of usage beside CSV.
const formatJSON = "json"

// UsageRequest asks what tenants have used.
type UsageRequest struct {
	tenantParams
	From   string `query:"from" api:"format=date,example=2026-11-01" doc:"First day (UTC); the first of this month when missing."`
	To     string `query:"to" api:"format=date,example=2026-11-30" doc:"Last day, included; today when missing. At most 400 days."`
	Sum    bool   `query:"sum" doc:"One row for each tenant, with the sum of its days."`
	Format string `query:"format" api:"enum=json|csv,default=json"`
}

// usageNumbersJSON are the numbers of a row.
type usageNumbersJSON struct {
	Events    int64 `json:"events" doc:"Accepted."`
	Bytes     int64 `json:"bytes" doc:"Of their payloads ('data'), as they were published."`
	Attempted int64 `json:"deliveries_attempted" doc:"Deliveries whose first attempt was made."`
	Attempts  int64 `json:"attempts" doc:"All attempts, retries included."`
	Delivered int64 `json:"deliveries_delivered" doc:"Deliveries that were acknowledged."`
	Failed    int64 `json:"deliveries_failed" doc:"Deliveries that were given up."`
}

type usageRowJSON struct {
	Day      string `json:"day,omitempty" api:"format=date" doc:"In UTC; absent in sums."`
	TenantID string `json:"tenant_id"`
	usageNumbersJSON
}

// usageJSON is what tenants have used.
type usageJSON struct {
	From  string           `json:"from" api:"format=date"`
	To    string           `json:"to" api:"format=date"`
	Rows  []usageRowJSON   `json:"models" doc:"The newest day first. Days and tenants with nothing have no row."`
	Total usageNumbersJSON `json:"total" doc:"Of all rows."`
}

func usageNumbers(u models.Usage) usageNumbersJSON {
	return usageNumbersJSON{u.Events, u.Bytes, u.Attempted, u.Attempts, u.Delivered, u.Failed}
}

// Span reads the days of the request.
func (r *UsageRequest) Span(now time.Time) (models.UsageQuery, error) {
	today := now.UTC().Truncate(24 * time.Hour)
	q := models.UsageQuery{From: today.AddDate(0, 0, 1-today.Day()), To: today, Sum: r.Sum}
	for _, f := range []struct {
		name, value string
		to          *time.Time
	}{{"from", r.From, &q.From}, {"to", r.To, &q.To}} {
		if f.value == "" {
			continue
		}
		t, err := time.Parse(time.DateOnly, f.value)
		if err != nil || t.Year() < 1 || t.Year() > 9999 {
			return q, models.Invalid(f.name, "must be a date like 2026-11-30")
		}
		*f.to = t
	}
	if r.From == "" && q.To.Before(q.From) {
		q.From = q.To.AddDate(0, 0, 1-q.To.Day())
	}
	return q, nil
}

// Usage finds what a request asks for.
func (a *API) Usage(ctx context.Context, c *Call, req *UsageRequest) (models.UsageQuery, []models.Usage, error) {
	q, err := req.Span(time.Now())
	if err != nil {
		return q, nil, err
	}
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenants...)
	if err != nil {
		return q, nil, err
	}
	rows, err := a.Store.Usage(ctx, scope, q)
	return q, rows, err
}

// SendUsageCSV answers with rows as a file.
func SendUsageCSV(c *fiber.Ctx, q models.UsageQuery, rows []models.Usage) error {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	out.UseCRLF = true
	columns := []string{"day", "tenant_id", "events", "bytes", "deliveries_attempted", "attempts", "deliveries_delivered", "deliveries_failed"}
	if q.Sum {
		columns[0] = "days"
	}
	cells := [][]string{columns}
	for _, u := range rows {
		days := u.Day.Format(time.DateOnly)
		if q.Sum {
			days = q.From.Format(time.DateOnly) + "/" + q.To.Format(time.DateOnly) // an interval, as ISO 8601 writes it
		}
		row := []string{days, harmless(u.TenantID)}
		for _, n := range []int64{u.Events, u.Bytes, u.Attempted, u.Attempts, u.Delivered, u.Failed} {
			row = append(row, strconv.FormatInt(n, 10))
		}
		cells = append(cells, row)
	}
	if err := out.WriteAll(cells); err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "text/csv; charset=utf-8; header=present")
	c.Set(fiber.HeaderContentDisposition, `attachment; filename="usage-`+q.From.Format(time.DateOnly)+"-"+q.To.Format(time.DateOnly)+`.csv"`)
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Send(b.Bytes())
}

// usage answers with JSON or CSV.
func (a *API) usage() fiber.Handler {
	return reading(a, func(ctx context.Context, c *fiber.Ctx, call *Call, req *UsageRequest) error {
		if req.Format != "" && req.Format != formatJSON && req.Format != exportCSV {
			return models.Invalid("format", "must be json or csv")
		}
		q, rows, err := a.Usage(ctx, call, req)
		if err != nil {
			return err
		}
		if req.Format == exportCSV {
			return SendUsageCSV(c, q, rows)
		}
		out := usageJSON{From: q.From.Format(time.DateOnly), To: q.To.Format(time.DateOnly), Rows: make([]usageRowJSON, len(rows))}
		var total models.Usage
		for i, u := range rows {
			out.Rows[i] = usageRowJSON{TenantID: u.TenantID, usageNumbersJSON: usageNumbers(u)}
			if !q.Sum {
				out.Rows[i].Day = u.Day.Format(time.DateOnly)
			}
			total.Add(u)
		}
		out.Total = usageNumbers(total)
		return sendJSON(c, call, &Reply{Body: out})
	})
}

// table says that the answer may also come as CSV.
func table(d *description) {
	d.answers = append(d.answers, described{http.StatusOK, reflect.TypeFor[string](), "", []string{"text/csv"}})
}
