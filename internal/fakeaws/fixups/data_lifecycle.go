package fixups

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

// dataLifecycle serves the policies of Data Lifecycle Manager, which moto does not have
// (https://docs.aws.amazon.com/dlm/latest/APIReference/). It makes no snapshots. It
// refuses what AWS refuses and the project relies on: a role that does not exist, and
// characters in the description.
func dataLifecycle() fakeaws.Middleware {
	d := lifecycles{policies: map[string]lifecyclePolicy{}}
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			if c.Service != fakeaws.DLM {
				return next(c)
			}
			answer, err := d.serve(c)
			var refused *refusal
			if errors.As(err, &refused) {
				return refused.answer(c), nil
			}
			if err != nil {
				return nil, err
			}
			return c.AnswerJSON(http.StatusOK, answer), nil
		}
	}
}

// lifecyclePolicy is a policy as in the API's JSON.
type lifecyclePolicy map[string]any

type lifecycles struct {
	mu       sync.Mutex
	made     int
	policies map[string]lifecyclePolicy // by id
}

var lifecycleDescription = regexp.MustCompile(`^[0-9A-Za-z _-]+$`)

func (r *refusal) Error() string { return r.code }

func (d *lifecycles) serve(c *fakeaws.Call) (any, error) {
	var sent lifecyclePolicy
	if body, err := c.ReadBody(); err != nil {
		return nil, err
	} else if len(body) > 0 {
		if err := json.Unmarshal(body, &sent); err != nil {
			return nil, refuse("InvalidRequestException", err.Error())
		}
	}
	if err := refuseLifecycle(c, sent); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	id := c.Resource
	if _, exists := d.policies[id]; id != "" && !exists {
		return nil, &refusal{http.StatusNotFound, "ResourceNotFoundException", "No policy " + id}
	}
	switch c.Action {
	case "CreateLifecyclePolicy":
		d.made++
		id = fmt.Sprintf("policy-%017x", d.made)
		sent["PolicyId"], sent["PolicyArn"] = id, "arn:aws:dlm:"+c.Region+":"+moto.Account+":policy/"+id
		d.policies[id] = sent
		return lifecyclePolicy{"PolicyId": id}, nil
	case "GetLifecyclePolicies":
		list := []lifecyclePolicy{}
		for _, p := range d.policies {
			list = append(list, lifecyclePolicy{"PolicyId": p["PolicyId"], "Description": p["Description"], "State": p["State"], "Tags": p["Tags"], "PolicyType": "EBS_SNAPSHOT_MANAGEMENT"})
		}
		return lifecyclePolicy{"Policies": list}, nil
	case "GetLifecyclePolicy":
		return lifecyclePolicy{"Policy": d.policies[id]}, nil
	case "UpdateLifecyclePolicy":
		maps.Copy(d.policies[id], sent)
	case "DeleteLifecyclePolicy":
		delete(d.policies, id)
	default:
		return nil, refuse("InvalidRequestException", "the stand-in has no "+c.Action)
	}
	return lifecyclePolicy{}, nil
}

// refuseLifecycle refuses a policy that AWS would refuse.
func refuseLifecycle(c *fakeaws.Call, sent lifecyclePolicy) error {
	if description, given := sent["Description"].(string); given && !lifecycleDescription.MatchString(description) {
		return refuse("InvalidRequestException", "Invalid description")
	}
	role, given := sent["ExecutionRoleArn"].(string)
	if !given {
		return nil
	}
	name := role[strings.LastIndex(role, "/")+1:]
	_, err := iam.NewFromConfig(c.Moto()).GetRole(c.Context(), &iam.GetRoleInput{RoleName: aws.String(name)})
	var api smithy.APIError
	if errors.As(err, &api) {
		return refuse("InvalidRequestException", "The role "+role+" does not exist or cannot be assumed by DLM")
	}
	return err
}
