package gcppubsub

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// verdict says what an answer means; nil is success. What the statuses stand for is told in
// https://cloud.google.com/pubsub/docs/reference/error-codes.
func (s *sender) verdict(resp *outbound.Response) *adapters.Error {
	resp.Control = "" // of webhooks
	e := outbound.Verdict(resp)
	if e == nil {
		return nil
	}
	reason, words := said(resp.Body)
	if words != "" {
		e.Raw += ": " + words
	}
	switch {
	case resp.Code == 401:
		e.Message = "Google refused the service account's key (401)."
		e.Advice = "Check that the key has not been deleted or disabled; otherwise create a new one and enter it."
	case resp.Code == 403:
		e.Message = "The service account may not publish to " + s.topic + " (403)."
		e.Advice = "Give it the role Pub/Sub Publisher on the topic, and check that the Pub/Sub API is enabled in the project."
	case resp.Code == 404:
		e.Message = "The topic " + s.topic + " does not exist (404)."
		e.Advice = "Create the topic, or correct the destination's project ID and topic."
	case reason == "FAILED_PRECONDITION":
		e.Kind, e.Class = adapters.KindTransient, adapters.ClassRejected
		e.Message = fmt.Sprintf("Pub/Sub cannot take messages for %s now (%d, FAILED_PRECONDITION).", s.topic, resp.Code)
		e.Advice = "Check the project's billing, the topic's encryption key and its schema, and whether ordering keys are allowed."
	case resp.Code == 400:
		e.Message = "Pub/Sub refused the message (400)."
		e.Advice = "Google's answer, below, says what is wrong with it; correct that, or filter such events out."
	case resp.Code == 413:
		e.Message = "The message is larger than Pub/Sub accepts (413)."
		e.Advice = "Send less data, or filter such events out."
	case resp.Code == 410:
		// Pub/Sub does not say so; a proxy might, and it knows nothing of the topic.
		e.Kind, e.Class = adapters.KindTransient, adapters.ClassNotFound
		e.Message, e.Advice = "The endpoint says that the topic is gone (410).", "Check the destination's endpoint."
	case resp.Code == 429:
		e.Advice = "Lower the destination's rate limit, or raise the project's quota for publishing."
	case resp.Code == 499, resp.Code == 504:
		e.Class = adapters.ClassTimeout
		e.Message = fmt.Sprintf("Pub/Sub did not answer in time (%d), and may have published the message all the same.", resp.Code)
		e.Advice = "It will be retried."
	case resp.Code >= 500:
		e.Advice = "It will be retried; see Google's status page if it stays."
	case resp.Code < 400, e.Class == adapters.ClassRejected:
		e.Advice = "Check that the destination's endpoint is one of Pub/Sub."
	}
	return e
}

// said is what Google says about an error: its name and its words, on one line.
func said(body []byte) (status, words string) {
	var answer struct {
		Error struct {
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return "", ""
	}
	return answer.Error.Status, strings.TrimSpace(answer.Error.Status + " " + outbound.OneLine(answer.Error.Message))
}
