// Package bucketowner makes S3 refuse the requests of a client to buckets of other
// accounts. Bucket names are unique among all accounts and those of a cluster can be
// guessed, so another account may have created the bucket (docs/decisions/0015).
package bucketowner

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

// middlewareID is the name of the middleware in an operation's stack.
const middlewareID = "XeroOpsBucketOwner"

// Require returns an option that sets the expected bucket owner, and that of a copy's
// source, on every operation that has one. S3 answers AccessDenied if the bucket
// belongs to another account. An owner that the input names already is kept. account
// is called for each operation until it succeeds; its error fails the operation, so
// that no request is sent without an owner.
func Require(account func(context.Context) (string, error)) func(*s3.Options) {
	owner := &cached{find: account}
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Initialize.Add(middleware.InitializeMiddlewareFunc(middlewareID, owner.initialize), middleware.Before)
		})
	}
}

// Account returns a function for [Require] that returns an account known in advance.
func Account(id string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return id, nil }
}

// cached keeps the account after the first success.
type cached struct {
	mu   sync.Mutex
	find func(context.Context) (string, error)
	id   string
}

func (c *cached) get(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.id != "" {
		return c.id, nil
	}
	id, err := c.find(ctx)
	if err == nil && id == "" {
		err = fmt.Errorf("the account is unknown")
	}
	if err != nil {
		return "", fmt.Errorf("find the account that owns the bucket: %w", err)
	}
	c.id = id
	return id, nil
}

// ownerFields are the members of an operation's input that name an owner.
var ownerFields = []string{"ExpectedBucketOwner", "ExpectedSourceBucketOwner"}

func (c *cached) initialize(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	given := reflect.ValueOf(in.Parameters)
	if given.Kind() != reflect.Pointer || given.IsNil() || !given.Elem().FieldByName(ownerFields[0]).IsValid() {
		return next.HandleInitialize(ctx, in) // such as CreateBucket, which fails if a stranger has the name
	}
	id, err := c.get(ctx)
	if err != nil {
		return middleware.InitializeOutput{}, middleware.Metadata{}, err
	}
	own := reflect.New(given.Type().Elem()) // the caller's input may be in use by other operations
	own.Elem().Set(given.Elem())
	for _, name := range ownerFields {
		if field := own.Elem().FieldByName(name); field.IsValid() && field.IsNil() {
			field.Set(reflect.ValueOf(&id))
		}
	}
	in.Parameters = own.Interface()
	return next.HandleInitialize(ctx, in)
}
