package outbound

import (
	"errors"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/gather"
)

// BatchError is a request with several messages that was refused or failed, for all of them.
type BatchError struct {
	Receipt adapters.Receipt
	Err     *adapters.Error
}

func (f *BatchError) Error() string { return f.Err.Message }

// Refused says whether a request was refused as a whole because of what is in it, which may be one message only. It is
// for a Gatherer's Divide.
func Refused(err error) bool {
	var f *BatchError
	return errors.As(err, &f) && f.Err.Kind == adapters.KindPermanent
}

// Gathered is what became of one of the messages that a Gatherer sent, whose calls fail with a *BatchError.
func Gathered(r adapters.Receipt, err error, host string) (adapters.Receipt, error) {
	var (
		f     *BatchError
		ended *gather.EndedError
	)
	switch {
	case err == nil:
		return r, nil
	case errors.As(err, &f):
		e := *f.Err // each of the messages gets an error of its own
		return f.Receipt, &e
	case errors.As(err, &ended):
		return adapters.Receipt{}, Explain(ended.Err, host)
	}
	return adapters.Receipt{}, adapters.AsError(err)
}
