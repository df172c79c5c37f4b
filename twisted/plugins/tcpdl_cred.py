"""`--auth users:FILE`, for the daemon and for any other program that takes such logins."""

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import ICheckerFactory
from twisted.plugin import IPlugin
from zope.interface import implementer

from tcpdl.server.credentials import IBearerToken


@implementer(ICheckerFactory, IPlugin)
class UsersFactory:
    """Makes what knows the users of a file."""

    authType = "users"
    authHelp = (
        "Reads a file of users with hashes of their passwords (scrypt), and of tokens (SHA-256).\n"
        "tcpdl passwd writes it. It is read again when it changes."
    )
    argStringFormat = "The file, as in users:/etc/tcpdl/users"
    credentialInterfaces = (IUsernamePassword, IBearerToken)

    def generateChecker(self, argstring: str) -> ICredentialsChecker:
        """The checker of the file called `argstring`."""
        from tcpdl.server.checkers import UsersChecker

        if not argstring:
            raise ValueError("the file is missing; write users:FILE")
        return UsersChecker(argstring)


users = UsersFactory()
