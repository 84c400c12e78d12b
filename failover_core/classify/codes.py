"""Error codes and HTTP statuses, and the classes they mean.

A *specific* code names one problem and is right whatever status comes with it: providers send
``insufficient_quota`` with 429 and ``ThrottlingException`` with 400. A *generic* code repeats
what a status says; it stands for that status where there is none, as inside a stream.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from failover_core.errors import ErrorClass

_SPECIFIC: Final[dict[ErrorClass, str]] = {
    ErrorClass.QUOTA: """
        insufficient_quota insufficient_balance insufficient_credits insufficient_funds
        billing_hard_limit_reached billing_not_active billing_disabled billing_error
        exceeded_current_quota_error quota_exceeded quotaexceeded payment_required
        credit_balance_too_low accountoverdueerror account_overdue arrearage
        servicequotaexceededexception contract_spend_limit_reached
        enforced_spend_limit_reached linked_organization_spend_limit_reached
        linked_organization_billing_unavailable
    """,
    ErrorClass.AUTH: """
        invalid_api_key incorrect_api_key api_key_invalid api_key_expired missing_api_key
        invalid_authentication invalid_authentication_error invalidapikey account_deactivated
        accessdeniedexception accessdenied unrecognizedclientexception expiredtokenexception
        expiredtoken invalidsignatureexception invalidclienttokenid signaturedoesnotmatch
        missingauthenticationtokenexception organization_on_hold
    """,
    ErrorClass.MODEL_NOT_FOUND: """
        model_not_found model_not_exist modelnotfound invalid_model unknown_model
        model_decommissioned model_not_available modelnotdeployederror deploymentnotfound
        deployment_not_found resourcenotfoundexception
    """,
    ErrorClass.INPUT_TOO_LARGE: """
        context_length_exceeded context_window_exceeded exceed_context_size_error
        tokens_limit_reached max_input_tokens_exceeded string_above_max_length
        array_above_max_length too_long string_too_long input_too_long request_too_large
        payload_too_large content_too_large request_body_too_large_after_decoding
    """,
    ErrorClass.CONTENT_SAFETY: """
        content_filter content_filtered content_policy_violation content_moderation
        responsibleaipolicyviolation moderation_blocked moderation_error flagged_input
        data_inspection_failed datainspectionfailed prohibited_content unsafe_content
        sensitive_content
    """,
    ErrorClass.THROTTLED: """
        throttlingexception throttling toomanyrequestsexception requestlimitexceeded
        provisionedthroughputexceededexception slowdown modelnotreadyexception
    """,
    ErrorClass.TIMEOUT: "modeltimeoutexception deadline_exceeded",
    # Google: the state of the account or the server is wrong, not the request.
    ErrorClass.SERVER_ERROR: """
        failed_precondition aborted modelerrorexception modelstreamerrorexception
        serviceunavailableexception internalserverexception
    """,
}

_GENERIC: Final[dict[int, str]] = {
    400: """
        invalid_request_error invalid_request bad_request invalid_argument out_of_range
        validationexception validation_error badrequesterror
    """,
    401: "authentication_error unauthenticated unauthorized",
    403: "permission_error permission_denied forbidden",
    404: "not_found_error not_found",
    408: "timeout_error request_timeout timeout",
    409: "conflict_error already_exists",
    429: """
        rate_limit_error rate_limit_exceeded rate_limit_reached rate_limited rate_limit
        too_many_requests resource_exhausted ratelimitreached
    """,
    500: """
        api_error server_error internal_error internal_server_error internal unknown data_loss
        internalservererror
    """,
    501: "unimplemented",
    503: "unavailable service_unavailable engine_overloaded engine_overloaded_error",
    529: "overloaded_error overloaded",
}

_CLASS_BY_CODE: Final = {
    code: error_class for error_class, codes in _SPECIFIC.items() for code in codes.split()
}
_STATUS_BY_CODE: Final = {
    code: status for status, codes in _GENERIC.items() for code in codes.split()
}

_CLASS_BY_STATUS: Final = {
    400: ErrorClass.INVALID_REQUEST,
    401: ErrorClass.AUTH,
    402: ErrorClass.QUOTA,
    403: ErrorClass.AUTH,
    # Also without a word about a model: whoever answers 404 lacks what the request asks for,
    # because the model is missing or the base URL is wrong, and another target may have it.
    404: ErrorClass.MODEL_NOT_FOUND,
    408: ErrorClass.TIMEOUT,
    409: ErrorClass.INVALID_REQUEST,
    410: ErrorClass.MODEL_NOT_FOUND,
    413: ErrorClass.INPUT_TOO_LARGE,
    422: ErrorClass.INVALID_REQUEST,
    424: ErrorClass.SERVER_ERROR,
    429: ErrorClass.THROTTLED,
}


def specific_code(codes: Iterable[str]) -> str | None:
    """Return the first code that decides by itself, or None."""
    return next((code for code in codes if code in _CLASS_BY_CODE), None)


def generic_code(codes: Iterable[str]) -> str | None:
    """Return the first code that stands for a status, or None."""
    return next((code for code in codes if code in _STATUS_BY_CODE), None)


def class_of_code(code: str) -> ErrorClass:
    """Return the class of a code found by ``specific_code``."""
    return _CLASS_BY_CODE[code]


def status_of_code(code: str) -> int:
    """Return the status of a code found by ``generic_code``."""
    return _STATUS_BY_CODE[code]


def class_of_status(status: int, *, retry_after: float | None) -> ErrorClass | None:
    """Return the class of an HTTP status, or None for one that says nothing.

    A redirect (3xx) is never followed, so it means a wrong base URL: SERVER_ERROR. A success
    (2xx) that still raised carried something unusable: MALFORMED.
    """
    if status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after is not None:
        return ErrorClass.THROTTLED
    if status in _CLASS_BY_STATUS:
        return _CLASS_BY_STATUS[status]
    by_hundreds = {2: ErrorClass.MALFORMED, 3: ErrorClass.SERVER_ERROR, 5: ErrorClass.SERVER_ERROR}
    return by_hundreds.get(status // 100)
