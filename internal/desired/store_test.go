package desired

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

const bucket = "uploads"

// wire is the way to moto. It counts requests, checks that each names the bucket's
// owner, and loses the response of those that lose names.
type wire struct {
	t    *testing.T
	mu   sync.Mutex
	seen []string // method and path
	lose func(*http.Request) bool
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.seen = append(w.seen, r.Method+" "+r.URL.Path)
	lose := w.lose != nil && w.lose(r)
	w.mu.Unlock()
	if r.Header.Get("X-Amz-Expected-Bucket-Owner") != moto.Account {
		w.t.Errorf("%s %s names no owner of the bucket", r.Method, r.URL)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && lose {
		_ = response.Body.Close()
		return nil, errors.New("connection reset by peer")
	}
	return response, err
}

func (w *wire) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

func newStore(t *testing.T) (Store, *wire) {
	t.Helper()
	server := mototest.Start(t, moto.Options{})
	w := &wire{t: t}
	options := s3.Options{BaseEndpoint: &server.URL, UsePathStyle: true, Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
	if _, err := s3.New(options).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
	options.HTTPClient = &http.Client{Transport: w}
	s, err := New(s3.New(options), bucket, moto.Account, cluster.Wheels, cluster.Layout{Cluster: "production"}.Applications())
	if err != nil {
		t.Fatal(err)
	}
	return s, w
}

func (s Store) mustPut(t *testing.T, key, content string) {
	t.Helper()
	if _, err := s.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, ExpectedBucketOwner: &s.owner, Body: strings.NewReader(content)}); err != nil {
		t.Fatal(err)
	}
}

func TestAWriteThatComesTooLateIsAConflict(t *testing.T) {
	s, _ := newStore(t)
	ctx := t.Context()
	first := state("notes", "1.0", 8001, "/api/notes")
	if _, err := s.Read(ctx, "notes"); !errors.Is(err, ErrNone) {
		t.Fatalf("before the first: %v", err)
	}
	if err := s.Write(ctx, first, ""); err != nil {
		t.Fatal(err)
	}
	read, err := s.Read(ctx, "notes")
	if err != nil || read.State != first || read.ETag == "" || read.Modified.IsZero() {
		t.Fatalf("%+v, %v", read, err)
	}
	second, third := first, first
	second.Version, third.Version = "2.0", "3.0"
	var conflict *ConflictError
	if err := s.Write(ctx, second, ""); !errors.As(err, &conflict) {
		t.Errorf("a second first one: %v", err)
	}
	if err := s.Write(ctx, second, read.ETag); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(ctx, third, read.ETag); !errors.As(err, &conflict) || conflict.Key != "wheels/notes/desired.json" {
		t.Errorf("over what was not read: %v", err)
	}
	if now, err := s.Read(ctx, "notes"); err != nil || now.Version != "2.0" {
		t.Errorf("%+v, %v", now, err)
	}
	if _, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: aws.String(conflict.Key), ExpectedBucketOwner: &s.owner}); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(ctx, third, read.ETag); !errors.As(err, &conflict) {
		t.Errorf("over what is gone: %v", err)
	}
}

func TestWritersThatRaceMakeAChain(t *testing.T) {
	s, _ := newStore(t)
	const writers = 4 // of which one loses at most three times
	versions := map[string]string{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for n := range writers {
		group.Go(func() {
			version := fmt.Sprint(n + 1)
			made, err := s.Change(t.Context(), "notes", func(now State) (State, error) {
				next := state("notes", version, 8001, "/api/notes")
				next.Previous = now.Version
				return next, nil
			})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			versions[version] = made.Previous
		})
	}
	group.Wait()
	last, err := s.Read(t.Context(), "notes")
	if err != nil {
		t.Fatal(err)
	}
	length := 0
	for version := last.Version; version != "" && length <= writers; version = versions[version] {
		length++
	}
	if length != writers {
		t.Errorf("%s has %d before it, want %d: %v", last.Version, length-1, writers-1, versions)
	}
}

func TestAChangeThatIsRefusedWritesNothing(t *testing.T) {
	s, w := newStore(t)
	refused := errors.New("refused")
	if _, err := s.Change(t.Context(), "notes", func(State) (State, error) { return State{}, refused }); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Change(t.Context(), "notes", func(State) (State, error) { return state("notes", "..", 8001, "/api/notes"), nil }); err == nil {
		t.Error("an invalid state was written")
	}
	for _, request := range w.requests() {
		if strings.HasPrefix(request, http.MethodPut) {
			t.Error(request)
		}
	}
}

func TestAPutWhoseResponseWasLostIsNoConflict(t *testing.T) {
	s, w := newStore(t)
	lost := 0
	w.lose = func(r *http.Request) bool {
		lost++
		return r.Method == http.MethodPut && lost == 1
	}
	if err := s.Write(t.Context(), state("notes", "1.0", 8001, "/api/notes"), ""); err != nil {
		t.Fatal(err)
	}
	if requests := w.requests(); len(requests) < 3 { // the put, its retry, and the read
		t.Errorf("no response was lost: %v", requests)
	}
}

func TestListTakesOneCallAndOneForEachApplication(t *testing.T) {
	s, w := newStore(t)
	for n, name := range []string{"notes", "orders"} {
		if err := s.Write(t.Context(), state(name, "1.0", 8001+n, "/api/"+name), ""); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"a.whl", "b.whl", "bundle.json"} {
			s.mustPut(t, cluster.Wheels+name+"/1.0/"+file, "x")
		}
	}
	s.mustPut(t, cluster.Wheels+"never/1.0/bundle.json", "{}")
	s.mustPut(t, cluster.Wheels+"broken/desired.json", `{"schema":1}`)
	s.mustPut(t, cluster.Wheels+"huge/desired.json", `{"schema":1`+strings.Repeat(" ", maxObjectBytes)+`}`)
	s.mustPut(t, cluster.Wheels+"Not-a-name/desired.json", `{}`)
	s.mustPut(t, cluster.Wheels+"liar/desired.json", strings.Replace(`{"schema":1,"application":"orders","version":"1","sha256":"SUM","route_prefix":"/api/x","port":8005,"since":"2026-05-04T12:00:00Z","by":""}`, "SUM", sum, 1))
	w.requests()
	all, problems, err := s.List(t.Context(), nil)
	if err != nil || len(all) != 2 || all["orders"].Port != 8002 || len(problems) != 3 || problems["broken"] == nil || problems["huge"] == nil || problems["liar"] == nil {
		t.Fatalf("%v, problems %v, %v", all, problems, err)
	}
	if requests := w.requests(); len(requests) != 1+6 {
		t.Errorf("it took %v", requests)
	}
	again, _, err := s.List(t.Context(), all)
	if err != nil || len(again) != 2 || again["notes"] != all["notes"] {
		t.Errorf("%v, %v", again, err)
	}
	if _, err := s.Change(t.Context(), "notes", func(now State) (State, error) { now.Version = "2.0"; return now, nil }); err != nil {
		t.Fatal(err)
	}
	if again, _, err = s.List(t.Context(), all); err != nil || again["notes"].Version != "2.0" || again["orders"] != all["orders"] {
		t.Errorf("after a change: %v, %v", again, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if all, _, err := s.List(ctx, nil); err == nil {
		t.Errorf("after the end of its context, it listed %v", all)
	}
}

func TestSettleWritesTheLedgerWhenItChanges(t *testing.T) {
	s, w := newStore(t)
	settle := func() (Ledger, map[string]error) {
		t.Helper()
		all, problems, err := s.List(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		l, refused, err := s.Settle(t.Context(), all, problems)
		if err != nil {
			t.Fatal(err)
		}
		return l, refused
	}
	settle()
	orders := state("orders", "1.0", 8001, "/api/orders")
	if err := s.Write(t.Context(), orders, ""); err != nil {
		t.Fatal(err)
	}
	settle()
	// aaa is first in the alphabet, says that it was there forever, and writes often.
	attack := state("aaa", "1.0", 8001, "/api/orders")
	attack.Since = since.AddDate(-50, 0, 0)
	if err := s.Write(t.Context(), attack, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Change(t.Context(), "orders", func(now State) (State, error) { now.Version = "2.0"; return now, nil }); err != nil {
		t.Fatal(err)
	}
	w.requests()
	l, refused := settle()
	var taken *TakenError
	if !errors.As(refused["aaa"], &taken) || taken.By != "orders" || l.Check(orders) != nil || l.Check(attack) == nil {
		t.Errorf("%+v, refused %v", l, refused)
	}
	for _, request := range w.requests() {
		if strings.HasPrefix(request, http.MethodPut) {
			t.Errorf("nothing changed, and yet: %s", request)
		}
	}
	// Its holder's object is damaged: that gives nothing away.
	s.mustPut(t, "wheels/orders/desired.json", "{")
	if l, _ = settle(); l.Check(orders) != nil {
		t.Errorf("%+v", l)
	}
	read, _, err := s.ReadLedger(t.Context())
	if err != nil || !read.Equal(l) {
		t.Errorf("%+v, %v", read, err)
	}
	for _, bad := range []string{"", "{}", `{"schema":1,"ports":{"22":"sshd"},"prefixes":{}}`, `{"schema":1,"ports":{},"prefixes":{"/":"x"}}`, `{"schema":1,"ports":{"8001":"../x"},"prefixes":{}}`} {
		s.mustPut(t, s.ledger, bad)
		if l, _, err := s.ReadLedger(t.Context()); err == nil {
			t.Errorf("%q was read as %+v", bad, l)
		}
	}
}

func TestABucketOfAnotherAccountIsNotOpened(t *testing.T) {
	for _, owner := range []string{"", "12345678901", "uploads-123456789012", "１２３４５６７８９０１２"} {
		if _, err := New(nil, bucket, owner, cluster.Wheels, "ledger"); err == nil {
			t.Errorf("owner %q was taken", owner)
		}
	}
}
