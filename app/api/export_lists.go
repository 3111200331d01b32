package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

// cellTime is a time in a cell.
func cellTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func cellTimeOr(t *time.Time) string {
	if t == nil {
		return ""
	}
	return cellTime(*t)
}

// cellJSON is a value in a cell; empty for nothing.
func cellJSON(v any, none bool) (string, error) {
	if none {
		return "", nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// ExportEvents streams the events that match.
func (a *API) ExportEvents(ctx context.Context, c *fiber.Ctx, call *Call, req *ExportEventsRequest, still func() bool) error {
	list := &ListEventsRequest{tenantParams: req.tenantParams, EventQuery: req.EventQuery, cursorParams: cursorParams{Dir: req.Dir}}
	return export(ctx, a, c, call, req.exportParams, rows[*models.Event]{
		name: "events", most: 200,
		columns: slices.Concat([]string{"received_at", "id", "tenant_id", "topic", "time", "eligible_for_retry", "matched_destination_ids",
			"attempts", "last_error"}, models.Statuses, []string{"metadata", "data"}),
		page: func(ctx context.Context, limit int, next string) (*models.Page[*models.Event], error) {
			list.Next = next
			return a.FindEvents(ctx, call, list, limit, models.MaxLimit)
		},
		json: func(e *models.Event) any { return a.eventToJSON(e) },
		cells: func(e *models.Event) ([]string, error) {
			metadata, err := cellJSON(e.Metadata, len(e.Metadata) == 0)
			if err != nil {
				return nil, err
			}
			cells := []string{cellTime(e.Received), e.ID, e.TenantID, e.Topic, cellTime(e.Time), fmt.Sprint(e.Retry), strings.Join(e.Matched, " "),
				fmt.Sprint(e.Attempts), e.LastError}
			for _, st := range models.Statuses {
				cells = append(cells, fmt.Sprint(e.Counts[st]))
			}
			return append(cells, metadata, string(e.Data)), nil
		},
	}, still)
}

// ExportDeliveries streams the deliveries that match.
func (a *API) ExportDeliveries(ctx context.Context, c *fiber.Ctx, call *Call, req *ExportDeliveriesRequest, still func() bool) error {
	list := &ListDeliveriesRequest{tenantParams: req.tenantParams, DeliveryQuery: req.DeliveryQuery,
		cursorParams: cursorParams{Dir: req.Dir}}
	return export(ctx, a, c, call, req.exportParams, rows[*models.Delivery]{
		name: "deliveries", most: models.MaxLimit,
		columns: []string{"created_at", "id", "tenant_id", "event_id", "destination_id", "topic", "status", "reason", "attempts", "max_attempts",
			"next_attempt_at", "last_attempt_at", "last_code", "error_class", "error", "advice"},
		page: func(ctx context.Context, limit int, next string) (*models.Page[*models.Delivery], error) {
			list.Next = next
			return a.FindDeliveries(ctx, call, list, limit, models.MaxLimit)
		},
		json: func(d *models.Delivery) any { return a.deliveryToJSON(d) },
		cells: func(d *models.Delivery) ([]string, error) {
			code := ""
			if d.LastCode != 0 {
				code = fmt.Sprint(d.LastCode)
			}
			return []string{cellTime(d.CreatedAt), d.ID(), d.TenantID, d.PublicEventID, d.DestinationID, d.Topic, d.Status, d.Reason,
				fmt.Sprint(d.Attempts), fmt.Sprint(d.MaxAttempts),
				cellTimeOr(d.NextAttemptAt), cellTimeOr(d.LastAttemptAt), code, d.ErrorClass, d.Error, d.Advice}, nil
		},
	}, still)
}

// ExportAttempts streams the attempts that match, of one tenant: no index has those of several in the order of their times, so
// that each page would be sorted anew.
func (a *API) ExportAttempts(ctx context.Context, c *fiber.Ctx, call *Call, req *ExportAttemptsRequest, still func() bool) error {
	if call.Actor.TenantID == "" && call.Scope().All() && len(req.Tenants) != 1 && len(req.EventIDs) == 0 {
		return models.Invalid("tenant_id", "must name one tenant: attempts are exported of one at a time, or of some events (event_id)")
	}
	list := &ListAttemptsRequest{tenantParams: req.tenantParams, AttemptQuery: req.AttemptQuery, cursorParams: cursorParams{Dir: req.Dir}}
	return export(ctx, a, c, call, req.exportParams, rows[*models.Attempt]{
		name: "attempts", most: 200,
		columns: []string{"time", "id", "tenant_id", "event_id", "destination_id", "destination_type", "delivery_id", "attempt_number", "status",
			"code", "duration_ms", "trigger", "actor", "method", "url",
			"error_class", "error", "advice", "response_body"},
		page: func(ctx context.Context, limit int, next string) (*models.Page[*models.Attempt], error) {
			list.Next = next
			return a.FindAttempts(ctx, call, list, limit, models.MaxLimit)
		},
		json: func(at *models.Attempt) any { return a.attemptToJSON(at, includes{}) },
		cells: func(at *models.Attempt) ([]string, error) {
			return []string{cellTime(at.StartedAt), at.ID(), at.TenantID, at.PublicEventID, at.DestinationID, at.DestinationType,
				at.DeliveryID(),
				fmt.Sprint(at.Number), at.Status(), string(at.ShownCode()),
				fmt.Sprint(ms(at.Duration)), at.Trigger, at.Actor, at.Method, at.URL, at.ErrorClass, at.Error, at.Advice, strings.ToValidUTF8(string(at.ResponseBody), "\uFFFD")}, nil
		},
	}, still)
}
