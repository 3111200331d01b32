package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/static"
)

// scrape answers Prometheus on the port that everybody reaches: with a key that may read everything.
func (a *App) scrape() fiber.Handler {
	answer := adaptor.HTTPHandler(a.metrics.Handler())
	return func(c *fiber.Ctx) error {
		ctx, cancel := api.CallContext()
		defer cancel()
		err := a.WhileAnswering(ctx, c, func(ctx context.Context) error {
			call, err := a.APICall(ctx, c, models.MayRead)
			if err != nil {
				return err
			}
			return api.OperatorsOnly(call)
		})
		if err != nil {
			return err
		}
		return answer(c)
	}
}

// serveMetrics answers Prometheus, and whoever wants to know whether the process is well, at METRICS_ADDR until ctx ends.
func (a *App) serveMetrics(ctx context.Context, ln net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if err := a.Store.Ready(ctx); err != nil {
			http.Error(w, "The database does not answer.", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("healthy\n")) // whoever asked may be gone
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // nothing here needs to be finished
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// meter counts requests, by part of the server, with how long they took.
func (a *App) meter(c *fiber.Ctx) error {
	began := time.Now()
	err := c.Next()
	status := c.Response().StatusCode()
	if err != nil {
		var fe *fiber.Error
		if errors.As(err, &fe) {
			err = api.FromFiber(fe)
		}
		status = models.AsError(err).Status()
	}
	part := partOf(c.Path())
	if strings.Contains(c.Get("Prefer"), "wait") {
		part = "waiting" // it took as long as the caller asked for
	}
	a.metrics.Request(part, status, time.Since(began))
	return err
}

// partOf names the part of the server that an address belongs to.
func partOf(path string) string {
	rest, api := strings.CutPrefix(path, api.APIPrefix+"/")
	switch {
	case api && (rest == "publish" || rest == "publish/batch"):
		return "publish"
	case api:
		return "api"
	case path == "/healthz" || path == "/readyz" || path == "/metrics":
		return "monitoring"
	case strings.HasPrefix(path, static.Prefix):
		return "static"
	}
	return "pages"
}
