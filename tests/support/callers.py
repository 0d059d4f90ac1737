"""Workflows that call the contract as a team would; light, since the sandbox imports this file again."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from corpus.service import CorpusService, DescribeRequest


@workflow.defn
class DescribeCaller:
    """Describes a source in one line."""

    @workflow.run
    async def run(self, source: str, endpoint: str) -> str:
        client = workflow.create_nexus_client(service=CorpusService, endpoint=endpoint)
        longest = timedelta(seconds=20)
        described = await client.execute_operation(
            CorpusService.describe_source,
            DescribeRequest(source=source),
            schedule_to_close_timeout=longest,
        )
        return (
            f"{described.state} {described.documents} {described.last_batch} {described.freshness}"
        )
