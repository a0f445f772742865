package network

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// findByName returns the address that the provider allocated under name, or nil.
func (r *eipResource) findByName(ctx context.Context, name string) (*base.Found, error) {
	addresses, err := r.findAddresses(ctx, base.NamedFilters(name)...)
	return adoptableAddress(addresses), err
}

// adoptableAddress returns whether one of the addresses with the same name can be
// adopted, or nil if there are none.
func adoptableAddress(addresses []ec2types.Address) *base.Found {
	if len(addresses) == 0 {
		return nil
	}
	found := &base.Found{ID: aws.ToString(addresses[0].AllocationId), Claim: base.EC2Claim(addresses[0].Tags)}
	if user := associatedWith(addresses[0]); user != "" {
		found.InUse = user
	}
	if len(addresses) > 1 {
		found.Conflict = fmt.Sprintf("%d addresses have this name", len(addresses))
	}
	return found
}

func (r *eipResource) findAddresses(ctx context.Context, filters ...ec2types.Filter) ([]ec2types.Address, error) {
	out, err := r.Client.EC2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: filters})
	if err != nil {
		return nil, err
	}
	return out.Addresses, nil
}

// claimed returns an address as the holder of its claim.
func (r *eipResource) claimed(a ec2types.Address) base.Claimed {
	id := aws.ToString(a.AllocationId)
	return base.Claimed{Kind: eipTypeName, ID: id, Tag: base.EC2Claim(a.Tags), Write: base.WriteEC2Claim(r.Client.EC2, id),
		Reread: func(ctx context.Context) (string, bool, error) {
			a, exists, err := r.Describe.Address(ctx, id)
			return base.EC2Claim(a.Tags), exists, err
		}}
}

// creation returns how the address is adopted or allocated; it is then in address. A
// new one has all its tags.
func (r *eipResource) creation(m eipModel, address *ec2types.Address) base.Creation {
	return base.Creation{Kind: eipTypeName, Name: m.Name.ValueString(), Write: base.WriteEC2ClaimOf(r.Client.EC2),
		Find: func(ctx context.Context) (*base.Found, error) {
			addresses, err := r.findAddresses(ctx, base.NamedFilters(m.Name.ValueString())...)
			if len(addresses) > 0 {
				*address = addresses[0]
			}
			return adoptableAddress(addresses), err
		},
		Create: func(ctx context.Context, claim base.Claim) (string, error) {
			allocated, err := r.allocate(ctx, m, claim)
			if err != nil {
				return "", err
			}
			*address = *allocated
			return aws.ToString(allocated.AllocationId), nil
		}}
}

func (r *eipResource) allocate(ctx context.Context, m eipModel, claim base.Claim) (*ec2types.Address, error) {
	tags := append(r.tags(m), claim.Tag())
	return base.CreateOnce(ctx,
		func(ctx context.Context) (*ec2types.Address, error) {
			created, err := r.findAddresses(ctx, claim.Filter())
			if err != nil || len(created) == 0 {
				return nil, err
			}
			return &created[0], nil
		},
		func(ctx context.Context, once ...func(*ec2.Options)) (*ec2types.Address, error) {
			out, err := r.Client.EC2.AllocateAddress(ctx, &ec2.AllocateAddressInput{
				Domain:            ec2types.DomainTypeVpc,
				TagSpecifications: base.TagOnCreate(ec2types.ResourceTypeElasticIp, tags),
			}, once...)
			if err != nil {
				return nil, err
			}
			return &ec2types.Address{AllocationId: out.AllocationId, PublicIp: out.PublicIp, Tags: tags}, nil
		})
}

// converge changes the tags of an address to those of the model.
func (r *eipResource) converge(ctx context.Context, m *eipModel, actual []ec2types.Tag) error {
	arn, err := base.EC2ARN(ctx, r.Client, "elastic-ip/"+m.ID.ValueString())
	if err != nil {
		return err
	}
	m.ARN = types.StringValue(arn)
	return base.SetEC2Tags(ctx, r.Client.EC2, m.ID.ValueString(), actual, r.tags(*m), m.managed)
}

func (r *eipResource) tags(m eipModel) []ec2types.Tag {
	return base.EC2Tags(m.Name.ValueString(), m.TagsAll, nil)
}

var errAddressGone = errors.New("it no longer exists; run terraform apply again to allocate another")

// release releases the address once it has no association. It does not remove
// associations, because what they belong to still exists.
func (r *eipResource) release(ctx context.Context, id string) error {
	err := awswait.Until(ctx, awswait.StateChange, func(ctx context.Context) (bool, string, error) {
		address, exists, err := r.Describe.Address(ctx, id)
		if err != nil || !exists {
			return true, "", err
		}
		if user := associatedWith(address); user != "" {
			return false, user, nil
		}
		_, err = r.Client.EC2.ReleaseAddress(ctx, &ec2.ReleaseAddressInput{AllocationId: &id})
		if awswait.IsInUse(err) {
			return false, "in use", nil
		}
		return true, "", awswait.Ignore(err, awswait.IsNotFound)
	})
	var late *awswait.TimeoutError
	if errors.As(err, &late) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w; destroy what uses the address, or disassociate it, and destroy again", err)
	}
	return err
}
