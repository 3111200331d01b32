package models

import (
	"context"
	"time"
)

// leaseHorizon is how far ahead sending times may be reserved, beside a hundred leases.
const leaseHorizon = 10 * time.Second

// LeaseRate reserves n sending times, 1/perSecond apart, of a destination with a rate limit, for whoever asks, in
// whatever process. It returns how long from now the first one is. Times that are not used are lost, so nobody asks for
// more than a fraction of a second's worth.
//
// Times that are further ahead than all processes together could have reserved are left from before the database's clock
// was set back, and do not count.
func (s *Store) LeaseRate(ctx context.Context, destination int64, perSecond float64, n int) (time.Duration, error) {
	span := float64(n) / perSecond
	var wait float64
	err := s.Jobs.QueryRow(ctx,
		`insert into rate_limits as r (destination_key, free_at) values ($1, clock_timestamp() + $2 * interval '1 second')
		on conflict (destination_key) do update set free_at = case when r.free_at > clock_timestamp() + $3 * interval '1 second'
			then clock_timestamp()
			else greatest(r.free_at, clock_timestamp()) end + $2 * interval '1 second'
		returning extract(epoch from free_at - clock_timestamp())::float8 - $2::float8`, destination, span,
		leaseHorizon.Seconds()+100*span).Scan(&wait)
	return max(0, time.Duration(wait*float64(time.Second))), err
}
