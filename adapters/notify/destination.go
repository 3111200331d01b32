package notify

import (
	"context"

	"github.com/waybill-dev/waybill/adapters"
)

const tenantKey = "tenant_id"

func init() {
	Register(Type{
		Name: "destination", Label: "Own destinations",
		Description: "Publishes each notice as an event, so that it goes to queues, streams or wherever events can go.",
		Instructions: "1. Choose the tenant whose destinations get the notices. A tenant's own channel always publishes for that tenant.\n" +
			"2. Give that tenant a destination that subscribes to the topic `" + Topic +
			"`. Destinations that subscribe to all topics get the notices as well. The topic needs no entry in the catalogue, and nobody else can publish on it.\n\n" +
			"The event's id is the notice's, so it is published once however often it is tried. What it holds is the same JSON that " +
			"webhook channels post. Do not rely on it alone to hear of the failures of these same destinations.",
		Config: []adapters.Field{{Key: tenantKey, Label: "Tenant", Type: adapters.FieldText, MaxLength: 255,
			Help: "The id of the tenant whose destinations get the notices.", Placeholder: "operations"}},
		Order: 60,
		Check: func(owner string, config, _ map[string]string) []adapters.FieldError {
			key := "config." + tenantKey
			switch tenant := config[tenantKey]; {
			case owner == "" && tenant == "":
				return []adapters.FieldError{{Key: key, Message: "is required"}}
			case owner != "" && tenant != "" && tenant != owner:
				return []adapters.FieldError{{Key: key, Message: "must be empty: this channel publishes for its own tenant"}}
			}
			return nil
		},
		Target: func(config map[string]string) string {
			if t := config[tenantKey]; t != "" {
				return "topic " + Topic + " of tenant " + t
			}
			return "topic " + Topic
		},
		Tenant: func(config map[string]string) string { return config[tenantKey] },
		Open: func(env Env, config, _ map[string]string) (Channel, error) {
			tenant := env.TenantID
			if tenant == "" {
				tenant = config[tenantKey]
			}
			if tenant == "" || env.TenantID != "" && config[tenantKey] != "" && config[tenantKey] != env.TenantID {
				return nil, configError("The channel names no tenant that it may publish for.", "Correct the channel's tenant.")
			}
			if env.Publish == nil {
				return nil, configError("This process cannot publish events.", "This is a defect of this server; please report it.")
			}
			return &destination{env: env, tenant: tenant}, nil
		},
	})
}

type destination struct {
	env    Env
	tenant string
}

// Send implements Channel.
func (d *destination) Send(ctx context.Context, n *Notice) (Result, error) {
	data, err := encode(n, d.env.Now())
	if err != nil {
		return Result{}, adapters.AsError(err)
	}
	metadata := map[string]string{"kind": n.Kind, "severity": n.Severity}
	for k, v := range metadata {
		if v == "" {
			delete(metadata, k)
		}
	}
	if err := d.env.Publish(ctx, d.tenant, n.ID, Topic, metadata, data); err != nil {
		return Result{}, adapters.AsError(err)
	}
	return Result{Answer: "published as event " + oneLine(n.ID, 200) + " on topic " + Topic}, nil
}
