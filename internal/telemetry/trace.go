package telemetry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"time"

	"conclave"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// A run is one trace. Its steps, votes and deliveries are jobs that any process
// may take up, after a restart too, so nothing carries the trace from one to the
// next: each finds it by the run's id. Calls between services carry the W3C
// trace context.

// Tracing sends spans to a collector. A nil *Tracing is off.
type Tracing struct {
	provider *sdk.TracerProvider
}

// Endpoint is the variable that turns tracing on; the exporter reads it and its
// OTEL_EXPORTER_OTLP_ relatives itself.
const Endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"

// NewTracing sends spans over OTLP/HTTP, as the process's environment says. It
// returns nil when Endpoint is not set.
func NewTracing(ctx context.Context, getenv func(string) string, services, version string) (*Tracing, error) {
	if getenv(Endpoint) == "" {
		return nil, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "%s=%q: %w", Endpoint, getenv(Endpoint), err)
	}
	about := resource.NewSchemaless(attribute.String("service.name", "conclave"), attribute.String("service.version", version),
		attribute.String("conclave.services", services))
	t := &Tracing{provider: sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about), sdk.WithIDGenerator(ids{}))}
	otel.SetTracerProvider(t.provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return t, nil
}

// Close sends what is left.
func (t *Tracing) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last spans: %w", err)
	}
	return nil
}

// Handler makes a span of each request that belongs to a trace.
func (t *Tracing) Handler(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return otelhttp.NewHandler(next, "", otelhttp.WithFilter(func(r *http.Request) bool { return r.Header.Get("Traceparent") != "" }),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string {
			if strings.Contains(r.Pattern, " ") {
				return r.Pattern
			}
			return r.Method + " " + r.Pattern
		}))
}

// Transport adds the trace context to requests that belong to a trace.
func (t *Tracing) Transport(next http.RoundTripper) http.RoundTripper {
	if t == nil {
		return next
	}
	return otelhttp.NewTransport(next, otelhttp.WithFilter(func(r *http.Request) bool {
		return trace.SpanContextFromContext(r.Context()).IsValid()
	}))
}

const scope = "conclave"

// runIDs are the ids of a run's trace and of its first span.
func runIDs(run conclave.RunID) (id trace.TraceID, span trace.SpanID) {
	sum := sha256.Sum256([]byte("conclave run " + run))
	copy(id[:], sum[:16])
	copy(span[:], sum[16:24])
	return id, span
}

// Run begins a span in a run's trace. The returned function ends it.
func Run(ctx context.Context, run conclave.RunID, name string, attributes ...attribute.KeyValue) (context.Context, func(error)) {
	return Span(inRun(ctx, run), name, append(attributes, attribute.String("conclave.run", string(run)))...)
}

// Past sends the span of something in a run that began a while ago and ends now.
func Past(ctx context.Context, run conclave.RunID, name string, began time.Time, attributes ...attribute.KeyValue) {
	if ctx = inRun(ctx, run); trace.SpanContextFromContext(ctx).IsValid() {
		_, span := otel.Tracer(scope).Start(ctx, name, trace.WithTimestamp(began), trace.WithAttributes(attributes...))
		span.End()
	}
}

// inRun puts a context that belongs to no trace into the run's, when tracing is on.
func inRun(ctx context.Context, run conclave.RunID) context.Context {
	if _, on := otel.GetTracerProvider().(*sdk.TracerProvider); !on || run == "" || trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	id, span := runIDs(run)
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: span, TraceFlags: trace.FlagsSampled, Remote: true}))
}

// Span begins a span if the context belongs to a trace. The returned function
// ends it.
func Span(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, func(error)) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, func(error) {}
	}
	ctx, span := otel.Tracer(scope).Start(ctx, name, trace.WithAttributes(attributes...))
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, conclave.KindOf(err).Error())
		}
		span.End()
	}
}

type runKey struct{}

// RunEnded sends the span that a run's other spans are children of.
func RunEnded(ctx context.Context, run conclave.Run, ended time.Time) {
	if _, on := otel.GetTracerProvider().(*sdk.TracerProvider); !on {
		return
	}
	_, span := otel.Tracer(scope).Start(context.WithValue(ctx, runKey{}, run.ID), "run", trace.WithNewRoot(), trace.WithTimestamp(run.Created),
		trace.WithAttributes(attribute.String("conclave.run", string(run.ID)), attribute.String("conclave.workflow", run.Workflow),
			attribute.String("conclave.status", string(run.Status))))
	span.End(trace.WithTimestamp(ended))
}

// ids gives the first span of a run the ids that belong to the run, and random
// ones to all else.
type ids struct{}

func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if run, ok := ctx.Value(runKey{}).(conclave.RunID); ok {
		return runIDs(run)
	}
	var id trace.TraceID
	rand.Read(id[:]) // never fails
	return id, ids{}.NewSpanID(ctx, id)
}

func (ids) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	var id trace.SpanID
	rand.Read(id[:]) // never fails
	return id
}
