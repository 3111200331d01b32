package jobs_test

import (
	"fmt"
	"testing"

	"github.com/waybill-dev/waybill/models"
)

// TestEventToMany delivers an event to more destinations of a tenant than it may have jobs in line at once.
func TestEventToMany(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	const many = 250
	for i := range many {
		e.destination(fmt.Sprintf("many-%d", i), nil, nil)
	}
	event := e.publish(models.PublishInput{})
	e.count(many-100, "select count(*) from river.river_job where priority = 2 and state = 'available'") // beside the line
	e.startWorker()
	for i := range many {
		e.delivery(event.ID, fmt.Sprintf("many-%d", i), func(d *models.Delivery) bool { return d.Status == models.StatusDelivered })
	}
}
