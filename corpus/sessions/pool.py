"""A pool of connections whose errors name their reason."""

from psycopg_pool import ConnectionPool, PoolTimeout

from corpus.errors import DependencyError, FreshetError
from corpus.sessions.rows import Connection


class Pool(ConnectionPool[Connection]):
    """A pool that says why it has no connection, where the server was refused."""

    refusal: FreshetError | None = None

    def getconn(self, timeout: float | None = None) -> Connection:
        """Take a connection.

        Raises:
            DependencyError: there is none in time, since the server is one that Freshet cannot use.
            PoolTimeout: there is none in time.
        """
        try:
            return super().getconn(timeout)
        except PoolTimeout as error:
            if self.refusal is None:
                raise
            raise DependencyError(str(self.refusal)) from error
