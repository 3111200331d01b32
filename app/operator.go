package app

import (
	"context"
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// followEnvironment makes the operators' destination as the environment asks for it, changes it, or takes it away.
func (a *App) followEnvironment(ctx context.Context) error {
	in, err := a.Cfg.Operator.Input()
	if err != nil {
		return err
	}
	all := models.AllTenants()
	d, err := a.Store.Destination(ctx, all, models.OperatorTenant, config.OperatorDestination)
	if err != nil && !models.IsKind(err, models.KindNotFound) {
		return err
	}
	missing := err != nil
	if !missing && (in == nil || *in.Type != d.Type) {
		if _, err := a.Store.DeleteDestination(ctx, all, models.OperatorTenant, config.OperatorDestination, 0); err != nil && !models.IsKind(err, models.KindNotFound) {
			return err
		}
		missing = true
	}
	switch {
	case in == nil:
		return nil
	case missing:
		_, err = a.Store.CreateDestination(ctx, all, models.OperatorTenant, *in)
		if models.IsKind(err, models.KindMalformed) { // another process was faster
			return nil
		}
	case !sameAs(d, in):
		_, err = a.Store.UpdateDestination(ctx, all, models.OperatorTenant, config.OperatorDestination, 0, *in)
	}
	if err != nil {
		return fmt.Errorf("OPERATOR_EVENTS_…: %w", err)
	}
	return nil
}

// sameAs reports whether the input would change nothing.
func sameAs(d *models.Destination, in *models.DestinationInput) bool {
	same := func(have map[string]string, want models.Values) bool {
		for k, v := range want {
			if v == nil || have[k] != *v {
				return false
			}
		}
		return true
	}
	return sameTopics(d.Topics, *in.Topics) && same(d.Config, in.Config) && same(d.Credentials, in.Credentials)
}

func sameTopics(have, want []string) bool {
	have, want = slices.Sorted(slices.Values(have)), slices.Compact(slices.Sorted(slices.Values(want)))
	return slices.Equal(have, want)
}
