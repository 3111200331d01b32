package awsconf

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// Check goes through the stages of a connection check. look asks the service about the resource and changes nothing; its
// answer tells whether the credentials are good and the resource is there. What it is allowed to do does not have to be
// the same as for sending, so a refusal of it is no failure.
func (c *Client) Check(ctx context.Context, look func(context.Context) error) []adapters.Stage {
	ctx, cancel := c.Deadline(ctx)
	defer cancel()
	line := outbound.New(c.endpoint, outbound.Options{Egress: c.env.Egress})
	stages := line.Check(ctx)
	_ = line.Close() // it always succeeds
	if !stages[len(stages)-1].OK {
		return stages
	}
	var x Exchange
	begun := time.Now()
	err := look(Watch(ctx, &x))
	auth := adapters.Stage{Name: "auth", OK: true, Took: time.Since(begun), Message: "AWS accepts the credentials."}
	if c.role != "" {
		auth.Message = "AWS accepts the credentials, and the role can be assumed."
	}
	publish := adapters.Stage{Name: "publish", OK: true, Message: fmt.Sprintf(
		"The %s is there. Nothing was sent; a test event shows whether %s is allowed.", c.where(), c.Resource.Action)}
	if err == nil {
		return append(stages, auth, publish)
	}
	fail := c.explain(&x, err)
	code, text, answered := said(err)
	var role *roleError
	switch m := meaningOf(code, text, x.Status); {
	case !answered, errors.As(err, &role), fail.Class == adapters.ClassAuth && m != denied && m != kms:
		auth.OK, auth.Message, auth.Advice = false, fail.Message, fail.Advice
		return append(stages, auth)
	case m == denied:
		publish.Message = fmt.Sprintf("AWS denies %s, so this server cannot see whether the %s is there. Sending may still work; a test event shows it.",
			c.Resource.Look, c.where())
	default:
		publish.OK, publish.Message, publish.Advice = false, fail.Message, fail.Advice
	}
	return append(stages, auth, publish)
}
