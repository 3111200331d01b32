package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/waybill-dev/waybill/migrations"

	"github.com/gofiber/fiber/v2"
)

type healthJSON struct {
	Status    string                  `json:"status" api:"enum=healthy|failed"`
	Timestamp time.Time               `json:"timestamp"`
	Workers   map[string]workerHealth `json:"workers" doc:"By the id of their process."`
}

type workerHealth struct {
	Status string `json:"status" api:"enum=healthy"`
}

// Healthz tells whether the process works and which workers are alive.
func (a *API) Healthz(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	h := healthJSON{Status: "healthy", Timestamp: time.Now().UTC(), Workers: map[string]workerHealth{}}
	workers, err := a.Store.Workers(ctx)
	for _, id := range workers {
		h.Workers[id] = workerHealth{Status: "healthy"}
	}
	if err != nil {
		h.Status = "failed"
		return c.Status(http.StatusServiceUnavailable).JSON(h)
	}
	return c.JSON(h)
}

// Readyz tells whether events would be accepted; see Store.Ready.
func (a *API) Readyz(c *fiber.Ctx) error {
	if err := a.Store.Ready(context.Background()); err != nil {
		a.Log.Warn("not ready to accept events", "request_id", RequestID(c), "error", err)
		message := "The database does not answer, or does not do what accepting events needs; the log says more."
		if errors.Is(err, migrations.ErrOldSchema) {
			message = "The database has another schema than this version needs. Run `waybill migrate` of this version."
		}
		return c.Status(http.StatusServiceUnavailable).JSON(map[string]string{"status": "failed", "message": message})
	}
	ready := map[string]string{"status": "ready"}
	if state, _ := a.Store.ReplicaState(); state != "" {
		ready["replica"] = state // a process without one is ready all the same
	}
	return c.JSON(ready)
}
