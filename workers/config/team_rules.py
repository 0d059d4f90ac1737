"""What the tables of teams must not say together, and not beside those of sources and subscribers."""

from collections.abc import Sequence

from corpus.access.team import Right, TeamSpec
from corpus.deliver.subscription import SubscriberSpec
from corpus.service import CORPUS_ENDPOINT
from corpus.source import SourceSpec

Teams = Sequence[TeamSpec]
Subscribers = Sequence[SubscriberSpec]


def check(
    teams: Teams, sources: Sequence[SourceSpec], subscribers: Subscribers
) -> None:
    """Refuse what cannot be meant.

    Raises:
        ValueError: names the field, the value and what to do.
    """
    _known_sources(teams, sources)
    _own_endpoints(teams, subscribers)
    _granted_subscriptions(teams, subscribers)


def _known_sources(teams: Teams, sources: Sequence[SourceSpec]) -> None:
    names = sorted(spec.source for spec in sources)
    for team in teams:
        for source in team.sources:
            if source not in names:
                raise ValueError(
                    f"team.{team.team}.sources names {source!r}, "
                    f"which is not a source of this file (it has: {', '.join(names) or 'none'})"
                )


def _own_endpoints(teams: Teams, subscribers: Subscribers) -> None:
    """The endpoint says which team calls, so it leads to that team's queue and nowhere else."""
    owners = {spec.endpoint: f"subscriber.{spec.subscriber}" for spec in subscribers}
    owners[CORPUS_ENDPOINT] = "Freshet (calls that no team claims)"
    for team in teams:
        owner = owners.setdefault(team.endpoint, f"team.{team.team}")
        if owner != f"team.{team.team}":
            raise ValueError(
                f"team.{team.team}.endpoint = {team.endpoint!r} is that of {owner}; name another one"
            )


def _granted_subscriptions(teams: Teams, subscribers: Subscribers) -> None:
    """A subscriber in the namespace of teams is notified of what one of these teams may be notified of."""
    for subscriber in subscribers:
        own = [team for team in teams if team.namespace == subscriber.namespace]
        if not own:
            continue
        granted = _may_be_notified_of(own)
        for source in subscriber.sources:
            if source not in granted:
                raise ValueError(
                    f"subscriber.{subscriber.subscriber}.sources names {source!r}, which no team of namespace "
                    f"{subscriber.namespace!r} may be notified of: grant it in team.{own[0].team}.sources, with the "
                    'right "subscribe"'
                )


def _may_be_notified_of(teams: Teams) -> set[str]:
    granted: set[str] = set()
    for team in teams:
        if Right.SUBSCRIBE in team.rights:
            granted.update(team.sources)
    return granted
