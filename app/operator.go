package app

import (
	"context"
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// followEnvironment makes the operators' destination as the environment asks for it, changes it, or takes it away.
func (a *App) followEnvironment(ctx context.Context, cfg *config.Config) error {
	patch, err := cfg.Operator.Input()
	if err != nil {
		return err
	}
	all := models.AllTenants()
	d, err := a.Store.Destination(ctx, all, models.OperatorTenant, config.OperatorDestination)
	if err != nil && !models.IsKind(err, models.KindNotFound) {
		return err
	}
	missing := err != nil
	if !missing && (patch == nil || patch["type"] != d.Type) {
		if _, err := a.Store.DeleteDestination(ctx, all, models.OperatorTenant, config.OperatorDestination, 0); err != nil &&
			!models.IsKind(err, models.KindNotFound) {
			return err
		}
		missing = true
	}
	in := models.DestinationInput{Patch: patch, Actor: "environment"}
	switch {
	case patch == nil:
		return nil
	case missing:
		_, err = a.Store.CreateDestination(ctx, all, models.OperatorTenant, in)
		if models.IsKind(err, models.KindMalformed) { // another process was faster
			return nil
		}
	case !sameAs(d, patch):
		_, err = a.Store.UpdateDestination(ctx, all, models.OperatorTenant, config.OperatorDestination, 0, in)
	}
	if err != nil {
		return fmt.Errorf("OPERATOR_EVENTS_…: %w", err)
	}
	return nil
}

// sameAs reports whether what the environment asks for would change nothing.
func sameAs(d *models.Destination, patch models.DestinationPatch) bool {
	same := func(have map[string]string, want any) bool {
		for k, v := range want.(map[string]string) {
			if have[k] != v {
				return false
			}
		}
		return true
	}
	return sameTopics(d.Topics, patch["topics"].([]string)) && same(d.Config, patch["config"]) && same(d.Credentials, patch["credentials"])
}

func sameTopics(have, want []string) bool {
	have, want = slices.Sorted(slices.Values(have)), slices.Compact(slices.Sorted(slices.Values(want)))
	return slices.Equal(have, want)
}
