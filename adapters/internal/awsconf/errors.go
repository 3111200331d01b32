package awsconf

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// meaning is what the codes of AWS's services come down to.
type meaning int

const (
	unknown meaning = iota
	denied
	badKey
	badSignature
	badTime
	expired
	incomplete // a request without the session token that its key needs, and the like
	noSuch
	throttled
	tooLarge
	invalid
	misconfigured
	elsewhere // another region
	kms
	failing
)

// meanings are the codes that services answer with, without "Exception" and the like at their end. They come from each
// service's list of errors, and from the common ones
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html).
var meanings = map[string]meaning{
	"AccessDenied": denied, "NotAuthorized": denied, "UnauthorizedOperation": denied, "Forbidden": denied,
	"InvalidSecurity": denied, "AccountProblem": denied, "AllAccessDisabled": denied,
	"NotAuthorizedForSource": denied, "NotAuthorizedForDetailType": denied,
	"InvalidClientTokenId": badKey, "UnrecognizedClient": badKey, "InvalidAccessKeyId": badKey, "OptInRequired": badKey,
	"InvalidToken":          incomplete,
	"SignatureDoesNotMatch": badSignature, "InvalidSignature": badSignature,
	"RequestTimeTooSkewed": badTime, "RequestExpired": badTime, "RequestInTheFuture": badTime,
	"ExpiredToken":               expired,
	"MissingAuthenticationToken": incomplete, "IncompleteSignature": incomplete, "AuthFailure": incomplete,

	"QueueDoesNotExist": noSuch, "NonExistentQueue": noSuch, "QueueDeletedRecently": noSuch, "InvalidAddress": noSuch,
	"ResourceNotFound": noSuch, "NoSuchBucket": noSuch, "NotFound": noSuch, "NoSuchEntity": noSuch,

	"Throttling": throttled, "Throttled": throttled, "RequestThrottled": throttled, "TooManyRequests": throttled,
	"ProvisionedThroughputExceeded": throttled, "LimitExceeded": throttled, "RequestLimitExceeded": throttled,
	"SlowDown": throttled, "OverLimit": throttled, "BandwidthLimitExceeded": throttled, "KmsThrottled": throttled,
	"KMSThrottling": throttled, "PriorRequestNotComplete": throttled, "OperationAborted": throttled,

	"BatchRequestTooLong": tooLarge, "EntityTooLarge": tooLarge, "RequestEntityTooLarge": tooLarge, "MessageTooLong": tooLarge,
	"MetadataTooLarge": tooLarge, "KeyTooLong": invalid,

	"InvalidMessageContents": invalid, "InvalidParameterValue": invalid, "Validation": invalid, "InvalidArgument": invalid,
	"MalformedDetail": invalid, "InvalidParameter": invalid, "InvalidAttributeName": invalid, "InvalidAttributeValue": invalid,
	"InvalidParameterCombination": invalid, "MissingParameter": invalid, "Serialization": invalid, "InvalidDigest": invalid,
	"BadDigest": invalid,

	"UnsupportedOperation": misconfigured, "InvalidStorageClass": misconfigured, "InvalidBucketName": misconfigured,
	"UnknownOperation": misconfigured, "InvalidAction": misconfigured, "InvalidBucketState": misconfigured,
	"ResourceInUse": misconfigured, "InvalidRequest": misconfigured, "InvalidState": misconfigured, "OperationDisabled": misconfigured,

	"PermanentRedirect": elsewhere, "AuthorizationHeaderMalformed": elsewhere, "IllegalLocationConstraint": elsewhere,
	"TemporaryRedirect": elsewhere,

	"InternalFailure": failing, "InternalError": failing, "Internal": failing, "ServiceUnavailable": failing,
	"InternalServerError": failing, "Unavailable": failing, "RequestTimeout": failing,
}

func meaningOf(code, text string, status int) meaning {
	if upper := strings.ToUpper(code); strings.HasPrefix(upper, "KMS") && !strings.Contains(upper, "THROTTL") {
		return kms
	}
	short := code[strings.LastIndexAny(code, ".#")+1:]
	if short != "InternalServerError" && short != "InternalError" {
		short = strings.TrimSuffix(strings.TrimSuffix(short, "Exception"), "Error")
	}
	m, ok := meanings[short]
	switch {
	case !ok:
		return meaningOfStatus(status)
	case m == badSignature && (strings.Contains(text, "expired") || strings.Contains(text, "not yet current")):
		return badTime // the one code stands for both
	case m == invalid && (strings.Contains(text, "must be shorter than") || strings.Contains(text, "size limit") ||
		strings.Contains(text, "length less than or equal to") && strings.Contains(text, "data'")):
		return tooLarge
	case m == invalid && namesResource(text):
		return misconfigured
	}
	return m
}

// namesResource reports whether a complaint about a parameter is about where messages go, and so not about a message.
func namesResource(text string) bool {
	text = strings.ToLower(text)
	for _, name := range []string{"'streamname'", "'streamarn'", "eventbusname", "queueurl", "endpointid"} {
		if strings.Contains(text, name) {
			return true
		}
	}
	return false
}

func meaningOfStatus(status int) meaning {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return denied
	case status == http.StatusNotFound:
		return noSuch
	case status == http.StatusRequestEntityTooLarge:
		return tooLarge
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return throttled
	case status >= 300 && status < 400:
		return elsewhere
	case status >= 500:
		return failing
	}
	return unknown
}

// Refused says what a service's refusal means. code and text are its own; they come from the error of a call, or from
// one entry of an answer to a call that succeeded, and then x.Status is not about them and has to be 0.
func (c *Client) Refused(code, text string, x Exchange) *adapters.Error {
	res, where := c.Resource, c.where()
	e := &adapters.Error{Kind: adapters.KindTransient, Raw: c.raw(code, text)}
	set := func(class adapters.Class, message, advice string) {
		e.Class, e.Message, e.Advice = class, message, advice
	}
	switch m := meaningOf(code, text, x.Status); m {
	case denied:
		set(adapters.ClassAuth, fmt.Sprintf("AWS denied %s on %s.", res.Action, where), fmt.Sprintf(
			"Allow %s on it for these credentials, in their IAM policy and, across accounts, in the policy of the %s too.", res.Action,
			res.Kind))
	case badKey, badSignature, expired, incomplete, badTime:
		c.unauthenticated(m, e)
	case noSuch:
		set(adapters.ClassNotFound, fmt.Sprintf("There is no %s.", where), fmt.Sprintf(
			"Check the %s and the region; once it exists, events that are still being retried arrive.", res.Kind))
	case throttled:
		e.Kind, e.After = adapters.KindThrottled, x.RetryAfter
		set(adapters.ClassThrottled, fmt.Sprintf("%s asked to slow down (%s).", res.Service, c.clean(plain(code))),
			"Lower the destination's rate limit, or raise the limit of the "+res.Kind+" in AWS.")
	case tooLarge:
		e.Kind = adapters.KindPermanent
		set(adapters.ClassTooLarge, fmt.Sprintf("The message is larger than %s accepts.", where), res.Limit)
	case invalid:
		e.Kind = adapters.KindPermanent
		set(adapters.ClassRejected, fmt.Sprintf("%s refused the message (%s).", res.Service, c.clean(plain(code))),
			"The answer says what is wrong with it; correct it at the publisher or in the destination's expressions.")
	case elsewhere:
		message := fmt.Sprintf("%s is not served at this address.", upper(where))
		if x.Region != "" && regionPattern.MatchString(x.Region) {
			message = fmt.Sprintf("The %s %s is in the region %s.", res.Kind, res.Name, x.Region)
		}
		set(adapters.ClassConfig, message, "Correct the destination's region or endpoint.")
	case kms:
		set(adapters.ClassAuth, fmt.Sprintf("The encryption key of %s cannot be used (%s).", where, c.clean(plain(code))),
			"Allow kms:GenerateDataKey and kms:Decrypt on the key for these credentials, and check that the key is enabled.")
	case misconfigured:
		set(adapters.ClassConfig, fmt.Sprintf("%s cannot do this with %s (%s).", res.Service, where, c.clean(plain(code))),
			"The answer says why; correct the destination's settings or those of the "+res.Kind+" in AWS.")
	case failing:
		set(adapters.ClassServer, fmt.Sprintf("%s failed (%s).", res.Service, c.clean(plain(code))),
			"It will be retried; see the AWS Health Dashboard if it stays.")
	default:
		set(adapters.ClassRejected, fmt.Sprintf("%s refused the request (%s).", res.Service, c.clean(plain(code))),
			"The answer may say why; check the destination's settings.")
		if x.Status != 0 && (code == "" || code == "UnknownError") {
			set(adapters.ClassProtocol, fmt.Sprintf("The answer (status %d) is not one of %s.", x.Status, res.Service),
				"Check the endpoint: something else than the service answers there.")
		}
	}
	return e
}

// unauthenticated words what is wrong with the credentials themselves.
func (c *Client) unauthenticated(m meaning, e *adapters.Error) {
	e.Class = adapters.ClassAuth
	switch m {
	case badKey:
		e.Message = "AWS does not know the access key."
		e.Advice = "Check that it was copied whole and is active in IAM, and that the region is enabled for its account; China and GovCloud have keys of their own."
	case badSignature:
		e.Message = "AWS refused the signature: the secret does not belong to the access key."
		e.Advice = "Enter the access key id and the secret access key again."
	case expired:
		e.Message = "The session token has expired."
		e.Advice = "Enter new temporary credentials, or use a role or a key of long duration, which need no renewal by hand."
	case incomplete:
		e.Message = "AWS refused the credentials as incomplete or mixed up."
		e.Advice = "Temporary credentials (keys that begin with ASIA) need their session token, others must have none; enter all of them again."
	default:
		e.Message = "AWS refused the time of the request: the clocks differ too much."
		e.Advice = "Ask the operator to set this server's clock; the destination's settings are not the cause."
	}
}

// where names the resource as messages do: "queue orders in eu-west-1".
func (c *Client) where() string {
	s := c.Resource.Kind + " " + c.Resource.Name
	if c.region != "" {
		s += " in " + c.region
	}
	return s
}

// Explain says what the error of a call means. The receipt says what was answered.
func (c *Client) Explain(operation string, x *Exchange, err error) *CallError {
	f := &CallError{Fault: c.explain(x, err)}
	code, text, ok := said(err)
	if ok || x.Status != 0 || x.Header != "" {
		f.Receipt = c.Receipt(operation, x, Answer{Error: c.clip(code), Message: c.clip(text), RequestID: c.clip(x.RequestID)})
	}
	return f
}

// Answer is what a receipt keeps of a refusal, as JSON.
type Answer struct {
	Error     string `json:"error,omitempty"`
	Message   string `json:"message,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

// CallError is the error of a whole call.
type CallError struct {
	Fault   *adapters.Error
	Receipt adapters.Receipt
}

func (f *CallError) Error() string { return f.Fault.Message }

// Unwrap makes errors.As find the *adapters.Error.
func (f *CallError) Unwrap() error { return f.Fault }

// mayBeOne reports whether a call of several messages was refused for what may be the fault of one of them.
func mayBeOne(err error) bool {
	var f *CallError
	return errors.As(err, &f) && f.Fault.Kind == adapters.KindPermanent
}

func said(err error) (code, text string, ok bool) {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode(), api.ErrorMessage(), true
	}
	return "", "", false
}

func (c *Client) explain(x *Exchange, err error) *adapters.Error {
	var (
		role *roleError
		host *hostError
		bad  *smithy.DeserializationError
	)
	if e := adapters.AsShortage(err); e != nil {
		return e
	}
	if errors.As(err, &host) {
		return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassAuth, Raw: c.raw("", host.Error()),
			Message: "This server has no AWS credentials of its own to lend.",
			Advice:  "Ask the operator to give the host a role, or enter an access key."}
	}
	if errors.As(err, &role) {
		return c.roleRefused(role)
	}
	if code, text, ok := said(err); ok {
		return c.Refused(code, text, *x)
	}
	if m := meaningOfStatus(x.Status); errors.As(err, &bad) && (m == throttled || m == failing || m == tooLarge) {
		return c.Refused(fmt.Sprintf("status %d", x.Status), err.Error(), *x) // said by a proxy, or by a service in distress
	}
	if errors.Is(err, errTooLong) || errors.As(err, &bad) || strings.Contains(err.Error(), "malformed HTTP") {
		return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassProtocol, Raw: c.raw("", err.Error()),
			Message: fmt.Sprintf("The answer is not one of %s.", c.Resource.Service),
			Advice:  "Check the endpoint: something else than the service answers there."}
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassTLS, Raw: c.raw("", err.Error()),
			Message: fmt.Sprintf("%s answered, but not with TLS.", c.endpoint.Host),
			Advice:  "Use http:// in the endpoint if the server does not offer TLS."}
	}
	if e := outbound.Explain(err, c.endpoint.Host); e != nil {
		known := *e
		known.Message, known.Advice, known.Raw = c.clean(e.Message), c.clean(e.Advice), c.clean(e.Raw)
		return &known
	}
	return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassConfig, Raw: c.raw("", err.Error()),
		Message: fmt.Sprintf("The request to %s could not be made.", c.Resource.Service),
		Advice:  "Check the destination's region, endpoint and credentials."}
}

// roleRefused says why the role could not be assumed.
func (c *Client) roleRefused(err *roleError) *adapters.Error {
	code, text, ok := said(err)
	if !ok {
		if e := outbound.Explain(err, "AWS STS"); e != nil {
			return e
		}
	}
	e := &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassAuth, Raw: c.raw(code, text)}
	switch m := meaningOf(code, text, 0); m {
	case badKey, badSignature, expired, incomplete, badTime:
		c.unauthenticated(m, e)
	case throttled, failing:
		e.Class = adapters.ClassServer
		e.Message = fmt.Sprintf("AWS STS could not hand out the role's credentials (%s).", c.clean(plain(code)))
		e.Advice = "It will be retried."
	case denied:
		e.Message = fmt.Sprintf("AWS denied assuming the role %s.", c.clean(c.role))
		e.Advice = "Let the role's trust policy name these credentials and this external id, and allow them sts:AssumeRole on the role."
	default:
		e.Message = fmt.Sprintf("The role %s could not be assumed.", c.clean(c.role))
		e.Advice = "Check the role's ARN, its trust policy and the external id."
		if !ok {
			e.Raw = c.raw("", err.Error())
		}
	}
	return e
}

// raw is the service's own words, on one line, without secrets.
func (c *Client) raw(code, text string) string {
	if code != "" && text != "" {
		code += ": "
	}
	return c.clip(code + text)
}

// clip bounds a text of the other side and takes out what cannot be stored or shown.
func (c *Client) clip(s string) string {
	s = plain(c.clean(s))
	if len(s) > 1000 {
		s = strings.ToValidUTF8(s[:1000], "") + "…"
	}
	return s
}

func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
