// SPDX-License-Identifier: Apache-2.0

// Package httpview turns an exchange into what telemetry shows of it. What metrics need is found
// for each exchange, everything else only for those that become records.
package httpview

import (
	"strconv"

	"github.com/ebpftcp/ebpftcpreceiver/internal/forwarded"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// MethodOther stands for methods that are not known.
const MethodOther = "_OTHER"

const schemeHTTP = "http"

// View is what telemetry shows of an exchange. Bytes from outside are
// redacted in Detail, and may be anything.
type View struct {
	*request.Exchange
	// Method is a known method, or MethodOther.
	Method string
	// Scheme is that of the URL.
	Scheme string
	// Route is the route template; "" if unknown.
	Route string
	// ErrorType is "" if nothing went wrong.
	ErrorType string
	// Protocol is the version of HTTP; "" if unknown.
	Protocol string
	// Duration is from the first byte of the request to the last of the answer, in
	// nanoseconds; 0 if unknown.
	Duration int64
	// Timed is set if the duration belongs into the histogram.
	Timed bool

	// Behind is the client that trusted proxies name. Its address is invalid if nobody is
	// trusted.
	Behind forwarded.Client

	// Call is what is known of a call to a language model; nil if the request is none.
	Call *Call

	// RPC is what is known of a remote procedure call; nil if the request is none.
	RPC *RPC

	// Detail is what only records show.
	Detail
}

// Options configure a Viewer. Of the pointers, only Redact is needed.
type Options struct {
	// Methods are the known ones; if empty, the semantic conventions'.
	Methods []string
	// Select says which exchanges become records.
	Select Selection
	// Redact hides what is secret.
	Redact *privacy.Redactor
	// RequestHeaders and AnswerHeaders select header fields.
	RequestHeaders, AnswerHeaders *privacy.Headers
	// Trust says which proxies are believed.
	Trust *forwarded.Trust
	// Gateways say which ports are those of gateways.
	Gateways Gateways
	// Bodies says which bodies records have; nil is none.
	Bodies *Bodies
	// Models are the ports of servers of language models; nil is none.
	Models *Ports
	// RPCMethods are the methods that metrics have; if empty, the first that servers know.
	RPCMethods []string
	// Routes say how route templates are found.
	Routes Routes
}

// Viewer makes views. It is for one goroutine at a time, except for Ignored
// and UpstreamFigures.
type Viewer struct {
	options Options
	methods map[string]string
	// statuses are the values of error.type.
	statuses [1000]string
	// since counts exchanges for the rate of the selection.
	since int
	// method saves the look-up of the last method.
	method string
	view   View
	// detailed is set if the view has a Detail.
	detailed bool
	// redacted is the list of what was hidden.
	redacted privacy.List
	// text is the memory of redacted text, state that of several tracestate fields.
	text, state []byte
	// path and unlisted are what the templates of routes are found in.
	path     []byte
	unlisted privacy.List
	ignored  ignored
	// gateways is nil unless a port is a gateway's.
	gateways *gateways
	// bodies is nil if records have none.
	bodies *bodies
	// models is nil unless a port is that of language models.
	models *models
	rpcs   *rpcs
}

// conventions are the methods that the semantic conventions know.
func conventions() []string {
	return []string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
}

// New makes a Viewer.
func New(options Options) *Viewer {
	v := &Viewer{
		options: options, methods: map[string]string{},
		gateways: newGateways(&options.Gateways), bodies: newBodies(options.Bodies), models: newModels(options.Models, options.Redact),
		rpcs: newRPCs(options.RPCMethods, options.Redact),
	}
	if v.options.Trust == nil {
		v.options.Trust = new(forwarded.Trust)
	}
	known := options.Methods
	if len(known) == 0 {
		known = conventions()
	}
	v.method = known[0]
	for _, method := range known {
		v.methods[method] = method
	}
	for status := range v.statuses {
		v.statuses[status] = strconv.Itoa(status)
	}
	return v
}

// Of returns what metrics need of an exchange. The view is valid until the next call.
func (v *Viewer) Of(e *request.Exchange) *View {
	view := v.Glance(e)
	v.ignored.forwarded(view.Behind.Fault)
	return view
}

// Glance is like Of, for exchanges that will come again.
func (v *Viewer) Glance(e *request.Exchange) *View {
	view := v.renew(e)
	if !v.options.Trust.Empty() {
		view.Behind = v.options.Trust.Find(e.Client, e.Proxied, e.Request.Fields())
		if view.Behind.Scheme != "" {
			view.Scheme = view.Behind.Scheme
		}
	}
	view.ErrorType = e.Problem.String()
	if view.ErrorType == "" && 500 <= e.Status && e.Status < len(v.statuses) {
		view.ErrorType = v.statuses[e.Status]
	}
	duration, known := e.Duration()
	view.Duration = duration
	view.Timed = known && e.Status != 0 && !e.Switched && !e.Answer.EventStream
	if v.models != nil {
		view.Call = v.models.callOf(e, v.clientOf(view))
	}
	view.RPC = v.rpcs.of(view)
	return view
}

// Failure is why the request failed, as HTTP or what it carries says; "" if it did not.
func (v *View) Failure() string {
	if v.ErrorType == "" && v.RPC != nil {
		return v.RPC.ErrorType
	}
	return v.ErrorType
}

// renew makes the view ready for another exchange. Most have no detail, so it is only emptied if
// the last one had.
func (v *Viewer) renew(e *request.Exchange) *View {
	view := &v.view
	if v.detailed {
		view.Detail, v.detailed = Detail{}, false
	}
	view.Exchange, view.Method, view.Scheme, view.Route = e, v.methodOf(e.Method), schemeHTTP, ""
	view.Protocol, view.Call = e.Version.String(), nil
	return view
}

func (v *Viewer) methodOf(sent []byte) string {
	if string(sent) == v.method {
		return v.method
	}
	method, ok := v.methods[string(sent)]
	if !ok {
		return MethodOther
	}
	v.method = method
	return method
}
