// SPDX-License-Identifier: Apache-2.0

// Package gateway knows what API gateways say in header fields about the requests that they
// pass on, and ties a gateway's request to the one that it made of it upstream.
package gateway

// Attributes that are not of a header field.
const (
	// KeyName is the gateway's product: NameKong.
	KeyName  = "tcp.gateway.name"
	NameKong = "kong"
	// KeyOwnDuration is the gateway's own share of a request, in seconds (Upstream.Share).
	KeyOwnDuration = "tcp.gateway.own.duration"
	// KeyUpstreamConnection is the tcp.connection.id of the upstream request.
	KeyUpstreamConnection = "tcp.gateway.upstream.connection.id"
	// KeyUpstreamAttempts counts the requests that the gateway made upstream.
	KeyUpstreamAttempts = "tcp.gateway.upstream.attempts"
)

// Type is that of an attribute's value.
type Type uint8

// Types.
const (
	Text Type = iota
	Int
	// Seconds is a floating-point number.
	Seconds
	Bool
)

// Field is an attribute that a header field gives.
type Field uint8

// Fields.
const (
	RequestID Field = iota
	Version
	ProxyDuration
	UpstreamDuration
	ResponseDuration
	UpstreamStatus
	UserID
	UserName
	ConsumerCustomID
	ConsumerGroups
	ConsumerAnonymous
	RateLimit
	RateRemaining
	RateReset
	RetryAfter
	RateLimitSecond
	RateLimitMinute
	RateLimitHour
	RateLimitDay
	RateLimitMonth
	RateLimitYear
	RateRemainingSecond
	RateRemainingMinute
	RateRemainingHour
	RateRemainingDay
	RateRemainingMonth
	RateRemainingYear
	Fields
)

// description is what is known of a field.
type description struct {
	header string // in lower case
	key    string
	typ    Type
}

// describe has no table in memory of the package. The order of limits is that of windows.
func (f Field) describe() description {
	switch f {
	case RequestID:
		return description{"x-kong-request-id", "tcp.gateway.request.id", Text}
	case Version:
		return description{"via", "tcp.gateway.version", Text}
	case ProxyDuration:
		return description{"x-kong-proxy-latency", "tcp.gateway.proxy.duration", Seconds}
	case UpstreamDuration:
		return description{"x-kong-upstream-latency", "tcp.gateway.upstream.duration", Seconds}
	case ResponseDuration:
		return description{"x-kong-response-latency", "tcp.gateway.response.duration", Seconds}
	case UpstreamStatus:
		return description{"x-kong-upstream-status", "tcp.gateway.upstream.status_code", Int}
	case UserID:
		return description{"x-consumer-id", "user.id", Text}
	case UserName:
		return description{"x-consumer-username", "user.name", Text}
	case ConsumerCustomID:
		return description{"x-consumer-custom-id", "tcp.gateway.consumer.custom_id", Text}
	case ConsumerGroups:
		return description{"x-consumer-groups", "tcp.gateway.consumer.groups", Text}
	case ConsumerAnonymous:
		return description{"x-anonymous-consumer", "tcp.gateway.consumer.anonymous", Bool}
	case RateReset:
		return description{"ratelimit-reset", "tcp.gateway.rate_limit.reset", Seconds}
	case RetryAfter:
		return description{"retry-after", "tcp.gateway.rate_limit.retry_after", Seconds}
	default:
		return f.describeLimit()
	}
}

func (f Field) describeLimit() description {
	switch f {
	case RateLimit:
		return description{"ratelimit-limit", "tcp.gateway.rate_limit.limit", Int}
	case RateRemaining:
		return description{"ratelimit-remaining", "tcp.gateway.rate_limit.remaining", Int}
	case RateLimitSecond:
		return description{"x-ratelimit-limit-second", "tcp.gateway.rate_limit.second.limit", Int}
	case RateLimitMinute:
		return description{"x-ratelimit-limit-minute", "tcp.gateway.rate_limit.minute.limit", Int}
	case RateLimitHour:
		return description{"x-ratelimit-limit-hour", "tcp.gateway.rate_limit.hour.limit", Int}
	case RateLimitDay:
		return description{"x-ratelimit-limit-day", "tcp.gateway.rate_limit.day.limit", Int}
	case RateLimitMonth:
		return description{"x-ratelimit-limit-month", "tcp.gateway.rate_limit.month.limit", Int}
	case RateLimitYear:
		return description{"x-ratelimit-limit-year", "tcp.gateway.rate_limit.year.limit", Int}
	case RateRemainingSecond:
		return description{"x-ratelimit-remaining-second", "tcp.gateway.rate_limit.second.remaining", Int}
	case RateRemainingMinute:
		return description{"x-ratelimit-remaining-minute", "tcp.gateway.rate_limit.minute.remaining", Int}
	case RateRemainingHour:
		return description{"x-ratelimit-remaining-hour", "tcp.gateway.rate_limit.hour.remaining", Int}
	case RateRemainingDay:
		return description{"x-ratelimit-remaining-day", "tcp.gateway.rate_limit.day.remaining", Int}
	case RateRemainingMonth:
		return description{"x-ratelimit-remaining-month", "tcp.gateway.rate_limit.month.remaining", Int}
	case RateRemainingYear:
		return description{"x-ratelimit-remaining-year", "tcp.gateway.rate_limit.year.remaining", Int}
	default:
		return description{}
	}
}

// Key is the attribute's name.
func (f Field) Key() string { return f.describe().key }

// Type is that of the attribute's value.
func (f Field) Type() Type { return f.describe().typ }

// Header is the header field's name in lower case.
func (f Field) Header() string { return f.describe().header }
