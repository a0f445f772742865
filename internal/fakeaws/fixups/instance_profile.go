package fixups

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// instanceProfile delays the visibility of a new profile in EC2, and that of its
// role for as long again, and returns AWS's errors for an unknown profile and one
// without a role: clients must retry on InvalidParameterValue with these texts
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html#troubleshoot_general_eventual-consistency).
func instanceProfile(delay time.Duration) func() fakeaws.Middleware {
	return func() fakeaws.Middleware {
		p := propagation{delay: delay, created: map[string]time.Time{}, filled: map[string]time.Time{}}
		return func(next fakeaws.Handler) fakeaws.Handler {
			return func(c *fakeaws.Call) (*http.Response, error) {
				switch {
				case c.Is(fakeaws.IAM, "CreateInstanceProfile", "AddRoleToInstanceProfile"):
					res, err := next(c)
					if succeeded(res, err) {
						p.record(c)
					}
					return res, err
				case c.Is(fakeaws.EC2, "RunInstances", "AssociateIamInstanceProfile", "ReplaceIamInstanceProfileAssociation"):
					refused, err := p.refuse(c)
					if err != nil {
						return asRefusal(c, err)
					}
					if refused != nil {
						return refused.answer(c), nil
					}
				}
				if c.Is(fakeaws.EC2, "ReplaceIamInstanceProfileAssociation") {
					return replaceAssociation(c, next)
				}
				return next(c)
			}
		}
	}
}

// propagation records when profiles were created and when their roles were added.
type propagation struct {
	delay           time.Duration
	mu              sync.Mutex
	created, filled map[string]time.Time // by name of the profile
}

func (p *propagation) record(c *fakeaws.Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := c.Params.Get("InstanceProfileName")
	if c.Action == "CreateInstanceProfile" {
		p.created[name] = time.Now()
	} else {
		p.filled[name] = time.Now()
	}
}

// refuse returns the error of a call that names a profile which EC2 does not know,
// or whose role it does not know.
func (p *propagation) refuse(c *fakeaws.Call) (*refusal, error) {
	name := profileName(c)
	if name == "" {
		return nil, nil
	}
	p.mu.Lock()
	created, filled := p.created[name], p.filled[name]
	p.mu.Unlock()
	if time.Since(created) < p.delay {
		return unknownProfile(name), nil
	}
	out, err := iam.NewFromConfig(c.Moto()).GetInstanceProfile(c.Context(), &iam.GetInstanceProfileInput{InstanceProfileName: &name})
	var missing *types.NoSuchEntityException
	switch {
	case errors.As(err, &missing):
		return unknownProfile(name), nil
	case err != nil:
		return nil, err
	case len(out.InstanceProfile.Roles) == 0 || time.Since(filled) < 2*p.delay:
		return refuse("InvalidParameterValue", "IAM Instance Profile \""+aws.ToString(out.InstanceProfile.Arn)+"\" has no associated IAM Roles"), nil
	}
	return nil, nil
}

// replaceAssociation ends an association and makes another, as AWS does: moto's
// replacement leaves the former profile on the instance.
func replaceAssociation(c *fakeaws.Call, next fakeaws.Handler) (*http.Response, error) {
	client, id := ec2Of(c), c.Params.Get("AssociationId")
	out, err := client.DescribeIamInstanceProfileAssociations(c.Context(), &ec2.DescribeIamInstanceProfileAssociationsInput{AssociationIds: []string{id}})
	if err != nil || len(out.IamInstanceProfileAssociations) == 0 {
		return next(c) // moto's error
	}
	if _, err := client.DisassociateIamInstanceProfile(c.Context(), &ec2.DisassociateIamInstanceProfileInput{AssociationId: &id}); err != nil {
		return asRefusal(c, err)
	}
	params := copyParams(c.Params, "AssociationId")
	params.Set("Action", "AssociateIamInstanceProfile")
	params.Set("InstanceId", aws.ToString(out.IamInstanceProfileAssociations[0].InstanceId))
	return next(c.With(params))
}

func profileName(c *fakeaws.Call) string {
	if name := c.Params.Get("IamInstanceProfile.Name"); name != "" {
		return name
	}
	arn := c.Params.Get("IamInstanceProfile.Arn")
	return arn[strings.LastIndexByte(arn, '/')+1:]
}

func unknownProfile(name string) *refusal {
	return refuse("InvalidParameterValue",
		"Value ("+name+") for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name")
}
